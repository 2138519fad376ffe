package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"metaq/protocol"
)

// fakeFiles is a ConsumerStore in memory.
type fakeFiles struct {
	mu     sync.Mutex // guards what follows
	next   int64
	kept   map[int64]Record
	broken error // of every call
}

func (f *fakeFiles) Keep(r Record) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken != nil {
		return f.broken
	}
	f.next++
	f.kept[f.next] = r
	return nil
}

func (f *fakeFiles) Kept() ([]int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.kept)), f.broken
}

func (f *fakeFiles) Record(n int64) (Record, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.kept[n], f.broken
}

func (f *fakeFiles) Drop(n int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken == nil {
		delete(f.kept, n)
	}
	return f.broken
}

func (f *fakeFiles) Load() (map[protocol.TopicPartition]Offset, error) { return nil, nil }
func (f *fakeFiles) Save(map[protocol.TopicPartition]Offset) error     { return nil }
func (f *fakeFiles) Close() error                                      { return nil }

// keeping is a keeper with the records 1 to 3, of which the last one is of a topic
// that its consumer does not take.
type keeping struct {
	*keeper
	files *fakeFiles

	mu   sync.Mutex // guards what follows
	bad  func(Record) error
	got  []Offset
	told []string
}

func newKeeping(t *testing.T, opts ...ConsumerOption) *keeping {
	t.Helper()
	k := &keeping{files: &fakeFiles{kept: map[int64]Record{}}, bad: func(Record) error { return nil }}
	handle := func(_ context.Context, r Record) error {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.got = append(k.got, r.Offset)
		return k.bad(r)
	}
	opts = append(opts, OnFailure(Keep), OnError(func(err error) {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.told = append(k.told, err.Error())
	}))
	o, err := newConsumerOptions("g", []string{"orders"}, handle, opts)
	if err != nil {
		t.Fatal(err)
	}
	con := &Consumer{o: o, files: k.files, log: slog.New(slog.DiscardHandler)}
	con.ctx, con.cancel = context.WithCancel(t.Context())
	k.keeper = newKeeper(con)
	for i, topic := range []string{"orders", "orders", "clicks"} {
		if err := k.keep(Record{Topic: topic, Offset: Offset(i + 1)}, errors.New("no")); err != nil {
			t.Fatal(err)
		}
	}
	return k
}

// fails makes the handler fail with what f returns.
func (k *keeping) fails(f func(Record) error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.bad = f
}

// news is what the handler got and OnError was told since the last call.
func (k *keeping) news() string {
	synctest.Wait()
	k.mu.Lock()
	defer k.mu.Unlock()
	text := fmt.Sprint(k.got, strings.Join(k.told, "; "))
	k.got, k.told = nil, nil
	return text
}

func (k *keeping) expect(t *testing.T, want string) {
	t.Helper()
	if got := k.news(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestKeptRecordsAreTriedAtTheStartAndEveryFiveMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKeeping(t)
		defer k.con.cancel()
		k.expect(t, "[]")
		k.fails(func(r Record) error { return map[Offset]error{1: errors.New("still no")}[r.Offset] })
		k.begin()
		k.expect(t, "[1 2]1 of 3 kept records stay kept; the first one: offset 1 of orders 0-0: still no")
		elapse(5*time.Minute - time.Second)
		k.expect(t, "[]")
		elapse(time.Second)
		k.expect(t, "[1]1 of 2 kept records stay kept; the first one: offset 1 of orders 0-0: still no")
		k.fails(func(Record) error { panic("worse") })
		elapse(5 * time.Minute)
		k.expect(t, "[1]1 of 2 kept records stay kept; the first one: offset 1 of orders 0-0: handler panicked: worse")
		k.fails(func(Record) error { return nil })
		elapse(5 * time.Minute)
		k.expect(t, "[1]")
		elapse(5 * time.Minute)
		k.expect(t, "[]")
		if numbers, err := k.files.Kept(); err != nil || !slices.Equal(numbers, []int64{3}) {
			t.Errorf("left: %v, %v", numbers, err)
		}
		k.Stop()
		k.Stop()
		k.Wait()
	})
}

func TestAKeeperStopsAfterTheRecordInHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKeeping(t, WithKeptInterval(time.Second))
		defer k.con.cancel()
		k.fails(func(Record) error { k.Stop(); return nil })
		k.begin()
		k.Wait()
		k.expect(t, "[1]")
		idle := newKeeping(t)
		defer idle.con.cancel()
		idle.Stop() // it was never begun
		idle.Wait()
		idle.expect(t, "[]")
	})
}

func TestProblemsOfTheStoreAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKeeping(t, WithKeptInterval(time.Second))
		defer k.con.cancel()
		fail := func(err error) {
			k.files.mu.Lock()
			defer k.files.mu.Unlock()
			k.files.broken = err
		}
		fail(errors.New("no disk"))
		if err := k.keep(Record{Topic: "orders", Offset: 4}, errors.New("no")); err == nil || err.Error() != "orders 0-0 waits at offset 4, which cannot be kept: no disk" {
			t.Error(err)
		}
		k.begin()
		k.expect(t, "[]kept records cannot be read: no disk")
		fail(nil)
		k.fails(func(Record) error { fail(errors.New("no disk")); return nil })
		elapse(time.Second)
		k.expect(t, "[1]3 of 3 kept records stay kept; the first one: offset 1 of orders 0-0 is processed and comes again: no disk")
		fail(nil)
		k.fails(func(Record) error { return nil })
		elapse(time.Second)
		k.expect(t, "[1 2]")
		k.Stop()
		k.Wait()
	})
}

func TestKeepNeedsADirectoryAndNoManualCommit(t *testing.T) {
	_, _, c := fakeCluster(t, "orders", 1)
	handle := func(context.Context, Record) error { return nil }
	for _, x := range []struct {
		opts []ConsumerOption
		says string
	}{
		{[]ConsumerOption{OnFailure(Keep)}, "connect with WithMessageDir"},
		{[]ConsumerOption{Broadcast(nil)}, "connect with WithMessageDir"},
		{[]ConsumerOption{OnFailure(Keep), ManualCommit()}, "exclude one another"},
		{[]ConsumerOption{WithKeptInterval(0)}, "must be above 0"},
	} {
		if _, err := c.NewConsumer(t.Context(), "g", []string{"orders"}, handle, x.opts...); err == nil || !strings.Contains(err.Error(), x.says) {
			t.Errorf("%v; want %q", err, x.says)
		}
	}
}
