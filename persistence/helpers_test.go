package persistence

import (
	"fmt"
	"testing"
	"time"

	"metaq/protocol"
)

// epochTime is where the clocks of the tests begin, in Unix milliseconds.
const epochTime = 1_700_000_000_000

// clock is a clock that a test moves.
type clock struct{ ms int64 }

func newClock() *clock { return &clock{epochTime} }

func (c *clock) now() time.Time          { return time.UnixMilli(c.ms) }
func (c *clock) advance(d time.Duration) { c.ms += d.Milliseconds() }

// stamped returns one encoded batch with the given values, as an actor would
// stamp it to continue l.
func stamped(t testing.TB, l *Log, ms int64, values ...string) []byte {
	t.Helper()
	return stampedAt(t, l.Next(), l.NextPosition(), l.LastEpoch(), int(l.Next()-l.Synced()), ms, values...)
}

func stampedAt(t testing.TB, base protocol.Offset, pos protocol.Position, epoch protocol.Epoch, unsynced int, ms int64, values ...string) []byte {
	t.Helper()
	var b protocol.BatchBuilder
	for _, v := range values {
		if err := b.Add(&protocol.Record{Time: ms, Value: []byte(v)}); err != nil {
			t.Fatal(err)
		}
	}
	out := b.Encode(protocol.CompressionNone, protocol.Producer{ID: protocol.NoProducer})
	protocol.StampBatch(out, protocol.Stamp{
		Base: base, Position: pos, Epoch: epoch, Unsynced: unsynced, MaxTime: ms, MetaqLen: b.MetaqLen(),
	})
	return out
}

// openLog opens a log that the test closes.
func openLog(t testing.TB, o Options) (*Log, Recovery) {
	t.Helper()
	l, r, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l, r
}

// put appends one batch and syncs.
func put(t testing.TB, l *Log, ms int64, values ...string) {
	t.Helper()
	if err := l.Append(stamped(t, l, ms, values...)); err != nil {
		t.Fatal(err)
	}
	if err := l.Sync(); err != nil {
		t.Fatal(err)
	}
}

// readAll returns the values of all records from the offset on.
func readAll(t testing.TB, l *Log, from protocol.Offset, maxBytes int) []string {
	t.Helper()
	var out []string
	for from < l.Next() {
		b, err := l.Read(nil, from, l.Next(), maxBytes)
		if err != nil {
			t.Fatalf("read at %d: %v", from, err)
		}
		if len(b) == 0 {
			t.Fatalf("read at %d below %d returned nothing", from, l.Next())
		}
		for _, r := range decode(t, b) {
			if r.Offset < from {
				continue
			}
			if r.Offset != from {
				t.Fatalf("record %d instead of %d", r.Offset, from)
			}
			out = append(out, string(r.Value))
			from++
		}
	}
	return out
}

func decode(t testing.TB, b []byte) []protocol.Record {
	t.Helper()
	var out []protocol.Record
	for len(b) > 0 {
		h, err := protocol.CheckBatch(b, 0)
		if err != nil {
			t.Fatal(err)
		}
		for r, err := range protocol.DecodeRecords(&h, b) {
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, r)
		}
		b = b[h.Length:]
	}
	return out
}

func values(from, to int) []string {
	var out []string
	for i := from; i < to; i++ {
		out = append(out, fmt.Sprintf("value-%d", i))
	}
	return out
}
