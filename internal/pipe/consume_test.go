package pipe

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"metaq/client"
	"metaq/protocol"
)

// source is a Source of records, each after a wait; then it waits for ever, or
// fails with err.
type source struct {
	records []client.Record
	every   time.Duration
	err     error
}

func (s *source) NextBatch(ctx context.Context) ([]client.Record, error) {
	if len(s.records) == 0 && s.err != nil {
		return nil, s.err
	}
	wait := make(<-chan time.Time)
	if len(s.records) > 0 {
		wait = time.After(s.every)
	}
	select {
	case <-wait:
		n := min(2, len(s.records))
		batch := s.records[:n]
		s.records = s.records[n:]
		return batch, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func records(payloads ...string) []client.Record {
	var all []client.Record
	for i, p := range payloads {
		all = append(all, client.Record{
			Topic: "t", Partition: protocol.PartitionID{N: i % 2}, Offset: protocol.Offset(i),
			Time: time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC), Value: []byte(p),
		})
	}
	return all
}

func TestConsumeEnds(t *testing.T) {
	broken := errors.New("cable cut")
	for _, c := range []struct {
		name string
		from source
		o    ConsumeOptions
		want string
		err  error
		took time.Duration
	}{
		{"after the count", source{records: records("a", "b", "c", "d")}, ConsumeOptions{Count: 3}, "a\nb\nc\n", nil, 0},
		{"when no new message came in time", source{records: records("a", "b"), every: 2 * time.Second}, ConsumeOptions{Timeout: 3 * time.Second}, "a\nb\n", nil, 5 * time.Second},
		{"when the source fails", source{records: records("a"), err: broken}, ConsumeOptions{}, "a\n", broken, 0},
		{"at once when nothing is wanted in an empty topic", source{}, ConsumeOptions{Timeout: time.Millisecond}, "", nil, time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var out strings.Builder
				start := time.Now()
				n, err := Consume(t.Context(), &c.from, &out, c.o)
				if !errors.Is(err, c.err) || out.String() != c.want || n != int64(strings.Count(c.want, "\n")) || time.Since(start) != c.took {
					t.Errorf("%d written: %q, error %v, after %s", n, out.String(), err, time.Since(start))
				}
			})
		})
	}
}

func TestConsumeWritesBeforeItWaitsAndEndsQuietlyWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var out strings.Builder
		var err error
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, err = Consume(ctx, &source{records: records("a")}, &out, ConsumeOptions{})
		}()
		synctest.Wait()
		if out.String() != "a\n" {
			t.Errorf("while it waits %q is written", out.String())
		}
		cancel()
		<-done
		if err != nil {
			t.Error(err)
		}
	})
}

func TestConsumeWritesJSON(t *testing.T) {
	all := records("<a>", "\xff")
	all[0].Key, all[0].Headers = []byte("k"), []client.Header{{Name: "h", Value: "1"}}
	var out strings.Builder
	if _, err := Consume(t.Context(), &source{records: all}, &out, ConsumeOptions{Count: 2, JSON: true}); err != nil {
		t.Fatal(err)
	}
	want := `{"topic":"t","partition":"0-0","offset":0,"time":"2026-01-02T03:04:05.006Z","key":"k","headers":{"h":["1"]},"data":"<a>"}
{"topic":"t","partition":"0-1","offset":1,"time":"2026-01-02T03:04:05.006Z","data_base64":"/w=="}
`
	if out.String() != want {
		t.Errorf("got\n%s", out.String())
	}
}

func TestConsumeReportsAStreamThatIsClosed(t *testing.T) {
	closed := errors.New("pipe closed")
	_, err := Consume(t.Context(), &source{records: records("a")}, writeFunc(func([]byte) (int, error) { return 0, closed }), ConsumeOptions{})
	if !errors.Is(err, closed) {
		t.Errorf("error %v", err)
	}
}
