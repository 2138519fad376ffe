package demo

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestReportForPeople(t *testing.T) {
	r := Report{
		Text: "book.txt", Topic: "demo", Partitions: 4, Lines: 1000, Keys: 70, StartSeconds: 0.25,
		Published: newPhase(1002, 2_500_000, 2*time.Second),
		Killed:    &Killed{Sent: 600, Acked: 500, BackSeconds: 0.5},
		ReadBack:  newPhase(1002, 2_500_000, 500*time.Millisecond),
	}
	r.judge(nil)
	got := write(t, &r)
	want := `book.txt: 1,000 lines with 70 keys, topic demo with 4 partitions, broker up in 250ms
lines longer than 262,144 bytes travelled in pieces: 1,002 messages
the broker was killed (kill -9) after 600 messages sent, 500 acknowledged, and back in 500ms

           MESSAGES    MB   TIME  MSG/S  MB/S
published     1,002  2.50  2.00s    501  1.25
read back     1,002  2.50  500ms  2,004  5.00

proof: each of 1,002 messages came back once, unchanged, and in order within its key
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	r.judge(errors.New("message 7 came back twice"))
	if got := write(t, &r); !strings.HasSuffix(got, "\nproof: FAILED: message 7 came back twice\n") || r.OK || r.Verdict() == nil {
		t.Errorf("failed proof reads\n%s", got)
	}
}

func write(t *testing.T, r *Report) string {
	t.Helper()
	var w strings.Builder
	if err := r.Write(&w); err != nil {
		t.Fatal(err)
	}
	return w.String()
}

func TestReadyURL(t *testing.T) {
	for line, want := range map[string]string{
		`{"time":"x","level":"INFO","msg":"broker ready","nats":"nats://127.0.0.1:4222"}`: "nats://127.0.0.1:4222",
		`{"level":"INFO","msg":"listening","nats":"nats://127.0.0.1:4222"}`:               "",
		`broker ready nats://127.0.0.1:4222`:                                              "",
		``:                                                                                "",
	} {
		if got := readyURL([]byte(line)); got != want {
			t.Errorf("readyURL(%s) = %q, want %q", line, got, want)
		}
	}
}

func TestTheBrokersEnvironmentIsItsOwn(t *testing.T) {
	got := withoutOurs([]string{"PATH=/bin", "METAQ_BROKER_ID=7", "HOME=/x"})
	if diff := cmp.Diff([]string{"PATH=/bin", "HOME=/x"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestTheTextIsTheWholeBook(t *testing.T) {
	if n := strings.Count(Text, "\n"); n < 9000 || !strings.Contains(Text, "Reflexions") {
		t.Errorf("the text has %d lines", n)
	}
}
