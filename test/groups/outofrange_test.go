package groups

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"testing"

	"metaq/client"
	"metaq/configs"
	"metaq/internal/broker"
)

// A group's offsets lie beyond the end, as after a loss of data. What follows is the
// broker's choice, updateConsumerOffsets: the group goes on at the end, or it stops
// and is told so, and a reset lets it go on.
func TestAGroupOutOfRangeDoesAsTheBrokerSays(t *testing.T) {
	for _, update := range []bool{false, true} {
		t.Run("updateConsumerOffsets="+strconv.FormatBool(update), func(t *testing.T) {
			c := connect(t, brokerWith(t, map[string]string{"update-consumer-offsets": strconv.FormatBool(update)}))
			produce(t, c, 0, 40)
			var mu sync.Mutex // guards what follows
			seen, failed := map[string]int{}, 0
			count := func() (int, int) {
				mu.Lock()
				defer mu.Unlock()
				return len(seen), failed
			}
			con := consume(t, c, func(_ context.Context, r client.Record) error {
				mu.Lock()
				defer mu.Unlock()
				seen[string(r.Value)]++
				return nil
			}, client.OnError(func(err error) {
				mu.Lock()
				defer mu.Unlock()
				if errors.Is(err, client.ErrOutOfRange) {
					failed++
				}
			}))
			await(t, "all records", func() bool { n, _ := count(); return n == 40 })
			assigned := con.Assigned()
			for _, p := range assigned {
				con.Seek(p, client.AtOffset(1_000_000))
			}
			if !update {
				await(t, "an error for each partition", func() bool { _, n := count(); return n >= len(assigned) })
				for _, p := range con.Assigned() {
					con.Seek(p, client.AtOffset(0))
				}
				await(t, "all records again", func() bool {
					mu.Lock()
					defer mu.Unlock()
					for _, n := range seen {
						if n < 2 {
							return false
						}
					}
					return true
				})
				return
			}
			// Each partition goes on with what comes from now on.
			for next := 40; ; next++ {
				produce(t, c, next, 1)
				if n, _ := count(); n >= 60 {
					break
				}
			}
			if _, n := count(); n != 0 {
				t.Errorf("%d errors", n)
			}
		})
	}
}

// brokerWith starts a broker with keys of its configuration for the test and
// returns its URL.
func brokerWith(t *testing.T, keys map[string]string) string {
	t.Helper()
	flags := map[string]string{"data": t.TempDir(), "nats-port": "0", "nats-host": "127.0.0.1", "auto-create-topics": "true"}
	for key, value := range keys {
		flags[key] = value
	}
	cfg, err := configs.Load(configs.LoadOptions{Flags: flags})
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	b, err := broker.Start(t.Context(), cfg, broker.Options{Version: "test", Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
		defer cancel()
		if err := b.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return b.URL()
}
