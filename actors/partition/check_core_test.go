package partition

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"pgregory.net/rapid"

	"metaq/actors"
	"metaq/actors/actorstest"
	"metaq/protocol"
)

// checked is a partition core over a log in memory, with puts that have ids.
type checked struct {
	t      rapid.TB
	core   *core
	log    *actorstest.Log
	millis int64
	acks   map[string][]waiting // by who asked
}

func newChecked(t rapid.TB, window time.Duration) *checked {
	opts := actors.Options{FlushBytes: 1 << 20, FlushCount: 1000}.WithDefaults()
	c := &checked{
		t: t, log: &actorstest.Log{Epoch: 3, KeepUnsynced: true}, millis: 1000, acks: map[string][]waiting{},
		core: newCore("orders", protocol.PartitionID{N: 3}, opts),
	}
	c.core.configure(actors.Settings{DuplicateWindow: window, MaxMessageIDs: 1000})
	c.open()
	return c
}

func (c *checked) open() {
	if err := c.log.Open(); err != nil {
		c.t.Fatal(err)
	}
	c.core.open(c.log, 3)
}

func (c *checked) reopen() {
	if err := c.log.Close(); err != nil {
		c.t.Fatal(err)
	}
	c.open()
}

// put puts a message whose value is its id; asker tells the answers apart.
func (c *checked) put(asker string, k actors.Check) error {
	if c.core.mustReadIDs(&k) {
		ids, last, err := readMessageIDs(c.log, c.core.written, c.millis, c.core.window, c.core.maxIDs)
		if err != nil {
			c.t.Fatal(err)
		}
		c.core.learnIDs(ids, last)
	}
	r := protocol.Record{Value: []byte(k.ID)}
	if k.ID != "" {
		r.Headers = []protocol.Header{{Name: protocol.HeaderMsgID, Value: k.ID}}
	}
	v := c.core.putChecked([]actors.Put{{Record: r, Check: &k, From: actor.NewPID("", asker)}}, nil, c.millis)
	if v.done {
		c.acks[asker] = append(c.acks[asker], v.w)
	}
	return v.err
}

// flush writes and syncs, or fails with err.
func (c *checked) flush(err error) {
	w, _ := c.core.flush(time.UnixMilli(c.millis), true)
	if w.bytes == nil {
		return
	}
	c.log.Update(func(l *actorstest.Log) { l.AppendErr = err })
	if err = c.log.Append(w.bytes, w.around); err == nil && w.sync {
		err = c.log.Sync()
	}
	out := c.core.worked(err, c.log.Lead())
	c.take(out)
	if out.poisoned {
		c.reopen()
	}
}

func (c *checked) take(out outcome) {
	for _, w := range out.answer {
		if out.err == nil {
			for i := range w.requests() {
				c.acks[w.asker(i).Id] = append(c.acks[w.asker(i).Id], w)
			}
		}
	}
}

func (c *checked) stored() []protocol.Record {
	var all []protocol.Record
	for h, err := range logTail(c.log, c.core.written, 1<<40) {
		if err != nil {
			c.t.Fatal(err)
		}
		b, err := c.log.Read(nil, h.Base, h.Next(), 1)
		if err != nil {
			c.t.Fatal(err)
		}
		for r, err := range protocol.DecodeRecords(&h, b) {
			if err != nil {
				c.t.Fatal(err)
			}
			all = append(all, r)
		}
	}
	return all
}

// Whatever fails and however often a message is sent again, within the window an
// id is stored once, and all that were acknowledged were told the same offset.
func TestAnIDIsStoredOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newChecked(t, time.Hour)
		for i := range rapid.IntRange(1, 100).Draw(t, "steps") {
			c.millis += 10
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			default:
				id := fmt.Sprint(rapid.IntRange(0, 10).Draw(t, "id"))
				if err := c.put(id, actors.Check{ID: id}); err != nil {
					t.Fatalf("step %d: %v", i, err)
				}
			case 0, 1:
				c.flush(nil)
			case 2:
				c.flush(protocol.ErrDiskFull)
			case 3:
				c.flush(actorstest.ErrDisk)
			case 4:
				c.flush(nil)
				c.reopen()
			}
		}
		c.flush(nil)
		at := map[string]protocol.Offset{}
		for _, r := range c.stored() {
			id := string(r.Value)
			if _, twice := at[id]; twice {
				t.Fatalf("id %s is stored twice", id)
			}
			at[id] = r.Offset
		}
		for id, acks := range c.acks {
			first := 0
			for _, w := range acks {
				if offset, ok := at[id]; !ok || offset != w.first {
					t.Fatalf("id %s was acknowledged at %d and is at %d (%v)", id, w.first, offset, ok)
				}
				if !w.duplicate {
					first++
				}
			}
			if first > 1 {
				t.Fatalf("id %s was acknowledged %d times as new", id, first)
			}
		}
	})
}

func TestAfterTheWindowAnIDIsNew(t *testing.T) {
	c := newChecked(t, time.Second)
	for _, step := range []struct {
		millis int64
		offset protocol.Offset
	}{{1000, 0}, {1999, 0}, {2000, 1}, {2001, 1}} {
		c.millis = step.millis
		if err := c.put("a", actors.Check{ID: "a"}); err != nil {
			t.Fatal(err)
		}
		c.flush(nil)
		acks := c.acks["a"]
		if got := acks[len(acks)-1].first; got != step.offset {
			t.Errorf("at %d ms the answer is offset %d, want %d", step.millis, got, step.offset)
		}
	}
	c.millis = 2999
	c.reopen() // the log tells the same
	if err := c.put("b", actors.Check{ID: "a"}); err != nil || c.acks["b"][0].first != 1 || !c.acks["b"][0].duplicate {
		t.Errorf("after the restart: %+v, %v", c.acks["b"], err)
	}
}

func TestExpectations(t *testing.T) {
	seq := func(n uint64) *uint64 { return &n }
	for _, test := range []struct {
		name  string
		check actors.Check
		want  error
	}{
		{"the stream", actors.Check{Stream: "orders-0-3"}, nil},
		{"another stream", actors.Check{Stream: "orders-0-2"}, protocol.ErrStreamDiffers},
		{"the last sequence", actors.Check{LastSequence: seq(2)}, nil},
		{"an older sequence", actors.Check{LastSequence: seq(1)}, protocol.ErrWrongSequence},
		{"an empty stream", actors.Check{LastSequence: seq(0)}, protocol.ErrWrongSequence},
		{"the last id", actors.Check{LastID: "b"}, nil},
		{"an older id", actors.Check{LastID: "a"}, protocol.ErrWrongMsgID},
		{"a duplicate, whatever it expects", actors.Check{ID: "a", LastSequence: seq(7)}, nil},
		{"a duplicate in another stream", actors.Check{ID: "a", Stream: "x"}, protocol.ErrStreamDiffers},
	} {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, restart %v", test.name, restart), func(t *testing.T) {
				c := newChecked(t, time.Minute)
				for _, id := range []string{"a", "b"} {
					if err := c.put(id, actors.Check{ID: id}); err != nil {
						t.Fatal(err)
					}
				}
				c.flush(nil)
				if restart {
					c.reopen()
				}
				if err := c.put("x", test.check); !errors.Is(err, test.want) {
					t.Errorf("got %v, want %v", err, test.want)
				}
			})
		}
	}
}

// A message without an id, or a batch, is a last message without an id.
func TestTheLastIDIsTheLastMessages(t *testing.T) {
	c := newChecked(t, time.Minute)
	for _, id := range []string{"a", ""} {
		if err := c.put("p", actors.Check{ID: id, Stream: "orders-0-3"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.put("p", actors.Check{LastID: "a"}); !errors.Is(err, protocol.ErrWrongMsgID) {
		t.Errorf("got %v, want %v", err, protocol.ErrWrongMsgID)
	}
	// What was taken back is not the last message.
	c.flush(protocol.ErrDiskFull)
	if err := c.put("p", actors.Check{LastID: "a"}); !errors.Is(err, protocol.ErrWrongMsgID) {
		t.Errorf("got %v, want %v", err, protocol.ErrWrongMsgID)
	}
}

func TestAMessageWhoseIDCannotBeRememberedIsNotStored(t *testing.T) {
	c := newChecked(t, time.Hour)
	c.core.idBudget = &idBudget{limit: 3}
	for i := range 3 {
		if err := c.put("a", actors.Check{ID: fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
	}
	c.flush(nil)
	if err := c.put("b", actors.Check{ID: "one too many"}); !errors.Is(err, protocol.ErrBusy) {
		t.Errorf("a message with a fourth id: %v", err)
	}
	if err := c.put("b", actors.Check{ID: "1"}); err != nil || len(c.acks["b"]) != 1 || !c.acks["b"][0].duplicate {
		t.Errorf("a message that came again: %v, %+v", err, c.acks["b"])
	}
	if err := c.put("c", actors.Check{}); err != nil {
		t.Errorf("a message without an id: %v", err)
	}
	c.flush(nil)
	if n := len(c.stored()); n != 4 {
		t.Errorf("%d messages are stored", n)
	}
	c.reopen() // the log tells the ids again
	if used := c.core.idBudget.used.Load(); used != 0 {
		t.Errorf("%d ids count while nobody has asked for them", used)
	}
	if err := c.put("d", actors.Check{ID: "2"}); err != nil || !c.acks["d"][0].duplicate {
		t.Errorf("after the log was opened again: %v", err)
	}
	c.millis += time.Hour.Milliseconds()
	if err := c.put("e", actors.Check{ID: "one too many"}); err != nil {
		t.Errorf("after the window: %v", err)
	}
}
