package cli

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestAConsolesLinesBreakBetweenValues(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(NewConsole(&out)).With("broker", 0)
	at := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	show := func(level slog.Level, message string, args ...any) {
		r := slog.NewRecord(at, level, message, 0)
		r.Add(args...)
		if err := log.Handler().Handle(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	show(slog.LevelInfo, "groups' log opened", "groups", 0)
	show(slog.LevelInfo, "broker ready", "nats", "nats://127.0.0.1:4222", "registry", "local", "data", "/var/lib/metaq", "zone", "Local +00:00")
	show(slog.LevelWarn, "partition does not serve", "err", `a text with "quotes" and \ that is longer than a line of a terminal, which is eighty`, "n", 1)
	log.WithGroup("disk").Debug("not shown")
	want := strings.TrimPrefix(`
15:04:05 INFO  groups' log opened broker=0 groups=0
15:04:05 INFO  broker ready broker=0 nats=nats://127.0.0.1:4222 registry=local
               data=/var/lib/metaq zone="Local +00:00"
15:04:05 WARN  partition does not serve broker=0
               err="a text with \"quotes\" and \\ that is longer than a line of a terminal, which is eighty"
               n=1
`, "\n")
	if got := out.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
