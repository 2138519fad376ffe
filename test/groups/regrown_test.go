package groups

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"

	"metaq/client"
	"metaq/client/messagedir"
	"metaq/protocol"
)

// A power failure takes the last 50 of 100 messages of a log, which a consumer has
// processed, and 80 others come under their offsets and beyond. None of those may be
// skipped without a word.

// cutWorld is a broker with one partition that has 50 messages, and keeps a copy of it.
type cutWorld struct {
	*world
	c    *client.Client
	copy map[string][]byte
}

func newCutWorld(t *testing.T, update bool) *cutWorld {
	t.Helper()
	w := &cutWorld{copy: map[string][]byte{}, world: newWorldWith(t, map[string]string{
		"update-consumer-offsets": strconv.FormatBool(update), "num-partitions": "1",
		"unflush-threshold": "1000000", "unflush-interval": "3600000",
	})}
	w.c = connect(t, w.url)
	if _, err := w.c.Admin().CreateTopic(t.Context(), protocol.TopicCreate{Topic: "orders", Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	produce(t, w.c, 0, 50)
	dir := filepath.Join(w.dir, "orders-0-0")
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if w.copy[f.Name()], err = os.ReadFile(filepath.Join(dir, f.Name())); err != nil {
			t.Fatal(err)
		}
	}
	produce(t, w.c, 50, 50)
	return w
}

// regrow cuts the log and lets it grow.
func (w *cutWorld) regrow() {
	w.t.Helper()
	w.stop()
	dir := filepath.Join(w.dir, "orders-0-0")
	if err := os.RemoveAll(dir); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		w.t.Fatal(err)
	}
	for name, b := range w.copy {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
	w.start()
	w.c = connect(w.t, w.url)
	produce(w.t, w.c, 100, 80)
}

// bag counts what was processed, and keeps the errors.
type bag struct {
	mu   sync.Mutex // guards what follows
	seen map[string]int
	errs []error
}

func (b *bag) handle(_ context.Context, r client.Record) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seen[string(r.Value)]++
	return nil
}

func (b *bag) onError() client.ConsumerOption {
	return client.OnError(func(err error) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.errs = append(b.errs, err)
	})
}

// has reports whether all values from from up to to were processed.
func (b *bag) has(from, to int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := from; i < to; i++ {
		if b.seen[strconv.Itoa(i)] == 0 {
			return false
		}
	}
	return true
}

func (b *bag) failed(target error) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, err := range b.errs {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

func newBag() *bag { return &bag{seen: map[string]int{}} }

func TestAGroupOfALogThatLostItsEndSkipsNothing(t *testing.T) {
	for _, stays := range []bool{false, true} {
		t.Run("the consumer stays="+strconv.FormatBool(stays), func(t *testing.T) {
			w := newCutWorld(t, true)
			b := newBag()
			con := consume(t, w.c, b.handle, b.onError())
			await(t, "the old messages", func() bool { return b.has(0, 100) && lag(t, w.c) == 0 })
			if !stays {
				closeConsumer(t, con)
			}
			w.regrow()
			if !stays {
				consume(t, w.c, b.handle, b.onError())
			}
			await(t, "the new messages", func() bool { return b.has(100, 180) })
			await(t, "all to be committed", func() bool { return lag(t, w.c) == 0 })
			info, err := w.c.Admin().GroupInfo(t.Context(), "g")
			if err != nil {
				t.Fatal(err)
			}
			d := info.Partitions[0].Diverged
			if d == nil || d.Offset != 100 || d.DivergedAt != 50 || d.Epoch == 0 || d.Stopped {
				t.Errorf("group info says %+v", d)
			}
		})
	}
}

func TestAGroupThatMayNotJumpStopsAtALogThatLostItsEnd(t *testing.T) {
	w := newCutWorld(t, false)
	b := newBag()
	con := consume(t, w.c, b.handle, b.onError())
	await(t, "the old messages", func() bool { return b.has(0, 100) && lag(t, w.c) == 0 })
	closeConsumer(t, con)
	w.regrow()
	con = consume(t, w.c, b.handle, b.onError())
	await(t, "an error", func() bool { return b.failed(client.ErrDiverged) && b.failed(client.ErrOutOfRange) })
	info, err := w.c.Admin().GroupInfo(t.Context(), "g")
	if err != nil {
		t.Fatal(err)
	}
	if p := info.Partitions[0]; p.Diverged == nil || !p.Diverged.Stopped || p.Diverged.DivergedAt != 50 || *p.Committed != 100 {
		t.Errorf("group info says %+v, %+v", p, p.Diverged)
	}
	closeConsumer(t, con)
	if _, err := w.c.Admin().GroupReset(t.Context(), "g", "orders", client.AtOffset(50), false); err != nil {
		t.Fatal(err)
	}
	consume(t, w.c, b.handle, b.onError())
	await(t, "the new messages", func() bool { return b.has(100, 180) })
}

// A member that knows nothing of epochs: the coordinator has them from the leader.
func TestAPlainMemberOfALogThatLostItsEndSkipsNothing(t *testing.T) {
	for _, update := range []bool{true, false} {
		t.Run("updateConsumerOffsets="+strconv.FormatBool(update), func(t *testing.T) {
			w := newCutWorld(t, update)
			group := func(verb, body string, reply any) {
				t.Helper()
				nc, err := nats.Connect(w.url)
				if err != nil {
					t.Fatal(err)
				}
				defer nc.Close()
				m, err := nc.Request("metaq.group.g."+verb, []byte(body), patience)
				if err != nil {
					t.Fatal(err)
				}
				if err := protocol.DecodeError(m.Data); err != nil {
					t.Fatal(err)
				}
				if err := json.Unmarshal(m.Data, reply); err != nil {
					t.Fatal(err)
				}
			}
			var v protocol.GroupView
			group("join", `{"member":"x","topics":["orders"]}`, &v)
			var done protocol.GroupOffsets
			group("commit", `{"member":"x","generation":`+strconv.FormatInt(v.Generation, 10)+
				`,"offsets":[{"topic":"orders","partition":"0-0","offset":100}]}`, &done)
			if done.Offsets[0].Epoch == 0 {
				t.Errorf("committed is %+v", done.Offsets)
			}
			w.regrow()
			v = protocol.GroupView{}
			group("join", `{"member":"y","topics":["orders"],"session_ms":500}`, &v)
			await(t, "the partition", func() bool {
				if len(v.Assigned)+len(v.Diverged) > 0 {
					return true
				}
				group("join", `{"member":"y","topics":["orders"],"session_ms":500}`, &v)
				return false
			})
			switch {
			case update && (len(v.Assigned) != 1 || v.Assigned[0].Offset != 50):
				t.Errorf("assigned is %+v", v.Assigned)
			case !update && (len(v.Assigned) != 0 || len(v.Diverged) != 1 || v.Diverged[0].DivergedAt != 50):
				t.Errorf("assigned is %+v, diverged %+v", v.Assigned, v.Diverged)
			}
		})
	}
}

func TestABroadcastConsumerOfALogThatLostItsEndSkipsNothing(t *testing.T) {
	w := newCutWorld(t, true)
	dir := messagedir.New(t.TempDir())
	b := newBag()
	con := consume(t, connectWith(t, w.url, dir), b.handle, b.onError(), client.Broadcast(nil))
	await(t, "the old messages", func() bool { return b.has(0, 100) })
	closeConsumer(t, con)
	w.regrow()
	consume(t, connectWith(t, w.url, dir), b.handle, b.onError(), client.Broadcast(nil))
	await(t, "the new messages", func() bool { return b.has(100, 180) })
	var moved *client.MovedError
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.errs) != 1 || !errors.As(b.errs[0], &moved) || moved.From != 100 || moved.To != 50 || moved.Recreated {
		t.Errorf("errors are %v", b.errs)
	}
}

func TestAReaderOfALogThatLostItsEndSkipsNothing(t *testing.T) {
	w := newCutWorld(t, true)
	r, err := w.c.NewReader(t.Context(), "orders", client.WhenOutOfRange(client.OutOfRangeAsBroker))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b := newBag()
	readUntil := func(from, to int) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		for !b.has(from, to) {
			rec, err := r.Next(ctx)
			if err != nil {
				t.Fatal(err)
			}
			_ = b.handle(ctx, rec) // it cannot fail
		}
	}
	readUntil(0, 100)
	w.regrow()
	readUntil(100, 180)
}

// A broadcast consumer whose topic is deleted and recreated while it is away starts over.
func TestABroadcastConsumerBeginsAnewInATopicThatWasMadeAgain(t *testing.T) {
	w := newCutWorld(t, false)
	dir := messagedir.New(t.TempDir())
	b := newBag()
	con := consume(t, connectWith(t, w.url, dir), b.handle, b.onError(), client.Broadcast(nil))
	await(t, "the old messages", func() bool { return b.has(0, 100) })
	closeConsumer(t, con)
	if err := w.c.Admin().DeleteTopic(t.Context(), "orders"); err != nil {
		t.Fatal(err)
	}
	await(t, "the new topic", func() bool {
		_, err := w.c.Admin().CreateTopic(t.Context(), protocol.TopicCreate{Topic: "orders", Partitions: 1})
		return err == nil
	})
	produce(t, w.c, 100, 130)
	con = consume(t, connectWith(t, w.url, dir), b.handle, b.onError(), client.Broadcast(nil))
	await(t, "the new messages", func() bool { return b.has(100, 230) })
	closeConsumer(t, con)
	again := newBag()
	consume(t, connectWith(t, w.url, dir), again.handle, again.onError(), client.Broadcast(nil))
	produce(t, w.c, 230, 1)
	await(t, "the next message", func() bool { return again.has(230, 231) })
	if n := len(again.seen); n != 1 {
		t.Errorf("it got %d messages after its restart", n)
	}
}
