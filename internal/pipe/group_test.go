package pipe

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"metaq/client"
)

// member gives its batches to the handler, each after a wait, as a
// client.Consumer with StopConsumer does, and keeps what was processed.
type member struct {
	batches   [][]client.Record
	every     time.Duration
	leave     error
	processed int
	cut       context.CancelFunc
	done      chan struct{}
	err       error
}

func (m *member) join(handle client.BatchHandler) (Member, error) {
	ctx, cancel := context.WithCancel(context.Background())
	m.cut, m.done = cancel, make(chan struct{})
	go func() {
		defer close(m.done)
		for _, batch := range m.batches {
			select {
			case <-time.After(m.every):
			case <-ctx.Done():
				return
			}
			err := handle(context.Background(), batch)
			var part *client.BatchError
			switch {
			case errors.As(err, &part):
				m.processed += part.Index
				m.err = &client.HandlerError{Err: part.Err}
				return
			case err != nil:
				m.err = &client.HandlerError{Err: err}
				return
			}
			m.processed += len(batch)
		}
		<-ctx.Done()
	}()
	return m, nil
}

func (m *member) Done() <-chan struct{} { return m.done }
func (m *member) Err() error            { return m.err }
func (m *member) Close(context.Context) error {
	m.cut()
	<-m.done
	return m.leave
}

func TestConsumeGroupEnds(t *testing.T) {
	away := errors.New("coordinator away")
	for _, c := range []struct {
		name string
		from member
		o    ConsumeOptions
		want string
		err  error
		took time.Duration
	}{
		{"within a batch, after the count", member{batches: [][]client.Record{records("a", "b"), records("c", "d")}}, ConsumeOptions{Count: 3}, "a\nb\nc\n", nil, 0},
		{"after a batch, at the count", member{batches: [][]client.Record{records("a", "b"), records("c")}, every: time.Second}, ConsumeOptions{Count: 2}, "a\nb\n", nil, time.Second},
		{"when no new message came in time", member{batches: [][]client.Record{records("a"), records("b")}, every: 2 * time.Second}, ConsumeOptions{Timeout: 3 * time.Second}, "a\nb\n", nil, 7 * time.Second},
		{"when it cannot leave", member{leave: away}, ConsumeOptions{Timeout: time.Second}, "", away, time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var out strings.Builder
				start := time.Now()
				n, err := ConsumeGroup(t.Context(), c.from.join, &out, c.o)
				if !errors.Is(err, c.err) || out.String() != c.want || time.Since(start) != c.took {
					t.Errorf("written %q, error %v, after %s", out.String(), err, time.Since(start))
				}
				if want := strings.Count(c.want, "\n"); n != int64(want) || c.from.processed != want {
					t.Errorf("%d counted and %d processed, want %d", n, c.from.processed, want)
				}
			})
		})
	}
}

func TestConsumeGroupEndsQuietlyWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		m := member{batches: [][]client.Record{records("a")}}
		var out strings.Builder
		if n, err := ConsumeGroup(ctx, m.join, &out, ConsumeOptions{}); err != nil || n != 1 || out.String() != "a\n" {
			t.Errorf("%d written: %q, error %v", n, out.String(), err)
		}
	})
}

// What did not reach the stream is not processed, so it is not committed.
func TestConsumeGroupReportsAStreamThatIsClosed(t *testing.T) {
	closed := errors.New("pipe closed")
	m := member{batches: [][]client.Record{records("a")}}
	n, err := ConsumeGroup(t.Context(), m.join, writeFunc(func([]byte) (int, error) { return 0, closed }), ConsumeOptions{})
	if !errors.Is(err, closed) || n != 0 || m.processed != 0 {
		t.Errorf("%d written, %d processed, error %v", n, m.processed, err)
	}
}

// A partition that was taken away while its batch waited for the stream is not
// printed: another member does.
func TestConsumeGroupDoesNotPrintWhatWasTakenAway(t *testing.T) {
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	var out strings.Builder
	join := func(handle client.BatchHandler) (Member, error) {
		if err := handle(gone, records("a")); !errors.Is(err, context.Canceled) {
			t.Errorf("the handler says %v", err)
		}
		return (&member{}).join(handle)
	}
	if n, err := ConsumeGroup(gone, join, &out, ConsumeOptions{}); err != nil || n != 0 || out.String() != "" {
		t.Errorf("%d written: %q, error %v", n, out.String(), err)
	}
}
