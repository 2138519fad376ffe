package actors

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"metaq/protocol"
)

func TestGetOutOfRange(t *testing.T) {
	r, l := startOne(t)
	for _, v := range []string{"a", "b", "c"} {
		offsetOf(t, r.put(v))
	}
	l.update(func(l *fakeLog) { l.start = 1 })
	for _, offset := range []protocol.Offset{0, 4} {
		answer := r.get("t", 0, protocol.GetRequest{Offset: &offset})
		requireError(t, answer, protocol.ErrRange)
		var out *protocol.RangeError
		if err, _ := answer.(error); !errors.As(err, &out) || out.LogStart != 1 || out.EndOffset != 3 {
			t.Fatalf("offset %d: %#v", offset, answer)
		}
	}
	if diff := cmp.Diff([]string{"b", "c"}, r.all()); diff != "" {
		t.Fatal(diff) // without an offset: from the log start
	}
	end := r.get("t", 0, protocol.GetRequest{Offset: ptr(protocol.Offset(3))}).(*GetResult)
	want := &GetResult{Topic: "t", LogStart: 1, EndOffset: 3, From: 3, Epoch: 1, MaxMessages: 1000, Format: protocol.FormatJSON}
	end.Release()
	end.Release = nil
	if diff := cmp.Diff(want, end); diff != "" {
		t.Fatal(diff)
	}
}

func TestGetIsBounded(t *testing.T) {
	r, _ := startOne(t, func(d *Deps) { d.Options.MaxTransferSize = 300 })
	for i := range 9 {
		offsetOf(t, r.put(fmt.Sprint(i)))
	}
	for _, max := range []int{0, 1 << 30} {
		got := values(t, r.get("t", 0, protocol.GetRequest{MaxBytes: max}))
		if len(got) != 3 {
			t.Fatalf("max_bytes %d: %d batches of about 85 bytes, want 3", max, len(got))
		}
	}
	if got := values(t, r.get("t", 0, protocol.GetRequest{MaxBytes: 1})); len(got) != 1 {
		t.Fatalf("%d batches, want at least and at most one", len(got))
	}
}

func TestAGetMayHaveSeveralAnswers(t *testing.T) {
	r, _ := startOne(t, func(d *Deps) { d.Options.MaxTransferSize = 170 }) // two batches of about 85 bytes
	for i := range 9 {
		offsetOf(t, r.put(fmt.Sprint(i)))
	}
	for _, tc := range []struct {
		name string
		get  protocol.GetRequest
		want [][]string
	}{
		{"up to the end", protocol.GetRequest{Format: protocol.FormatBatch, Answers: 9}, [][]string{{"0", "1"}, {"2", "3"}, {"4", "5"}, {"6", "7"}, {"8"}}},
		{"as many as wanted", protocol.GetRequest{Format: protocol.FormatBatch, Answers: 2, Offset: ptr(protocol.Offset(5))}, [][]string{{"5", "6"}, {"7", "8"}}},
		{"one by default", protocol.GetRequest{Format: protocol.FormatBatch}, [][]string{{"0", "1"}}},
		{"one in JSON", protocol.GetRequest{Answers: 9}, [][]string{{"0", "1"}}},
		{"one at the end", protocol.GetRequest{Format: protocol.FormatBatch, Answers: 9, Offset: ptr(protocol.Offset(9))}, [][]string{nil}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r.send(r.leader("t", 0), &Get{Request: tc.get, Ticket: r.tickets.take()})
			for i, want := range tc.want {
				got, ok := r.probe.next(t).(*GetResult)
				if !ok || got.More != (i < len(tc.want)-1) {
					t.Fatalf("answer %d: %+v", i, got)
				}
				if got.Frame != nil {
					h, batches, err := protocol.ParseFetch(got.Frame)
					if err != nil || h.More != got.More || h.LogStart != 0 || h.EndOffset != 9 || string(batches) != string(got.Batches) {
						t.Errorf("answer %d: frame %+v, %v", i, h, err)
					}
				}
				if diff := cmp.Diff(want, values(t, got)); diff != "" {
					t.Errorf("answer %d (-want +got):\n%s", i, diff)
				}
			}
		})
	}
}

func TestGetsThatWaitForTheirNextAnswerAreNotForgotten(t *testing.T) {
	var c readerCore
	c.park(fetch{from: 1})
	c.goOn(fetch{from: 2, answers: 3}, 4, 1)
	c.goOn(fetch{from: 3, answers: 2}, 5, 1)
	if f, ok := c.nextGoing(); !ok || f.from != 4 || f.answers != 2 {
		t.Errorf("the first in turn is %+v, %v", f, ok)
	}
	if all := c.all(); len(all) != 2 || all[0].from != 1 || all[1].from != 5 {
		t.Errorf("all that wait are %+v", all)
	}
	if _, ok := c.nextGoing(); ok || len(c.all()) != 0 {
		t.Error("they were handed out and are still there")
	}
}

func TestLongPoll(t *testing.T) {
	t.Run("is woken by the next message", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			r, d := newRig(t, oneTopic)
			r.start(d)
			began := time.Now()
			const n = 50
			for range n {
				r.send(r.leader("t", 0), &Get{Request: protocol.GetRequest{WaitMs: 30_000}, Ticket: r.tickets.take()})
			}
			synctest.Wait() // all are parked
			producer := newProbe(r.env.system)
			r.env.system.Root.RequestWithCustomSender(r.leader("t", 0), together(Put{Record: protocol.Record{Value: []byte("a")}}), producer.pid)
			for range n {
				if diff := cmp.Diff([]string{"a"}, values(t, r.probe.next(t))); diff != "" {
					t.Fatal(diff)
				}
			}
			offsetOf(t, producer.next(t))
			if waited := time.Since(began); waited != 0 {
				t.Fatalf("answered after %s, the message came at once", waited)
			}
		})
	})
	t.Run("misses no message that comes while it parks", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			r, d := newRig(t, oneTopic)
			r.start(d)
			offsetOf(t, r.put("a"))
			l := r.disk.log(t, "t-0-0")
			status := newPartitionStatus(protocol.PartitionID{}, r.env.metrics)
			status.serve(l, 1, 0)
			l.update(func(l *fakeLog) { l.onStart = func() { status.commit(1) } })
			pid, err := spawn(r.env.system.Root, "side", quietLog(), func() receiver { return newReader(r.env, "t", status) })
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			got := r.ask(pid, &Get{Request: protocol.GetRequest{WaitMs: 5000}, Ticket: r.tickets.take()})
			if diff := cmp.Diff([]string{"a"}, values(t, got)); diff != "" || time.Since(began) != 0 {
				t.Fatalf("after %s: %s", time.Since(began), diff)
			}
			if err := r.env.system.Root.StopFuture(pid).Wait(); err != nil {
				t.Fatal(err)
			}
		})
	})
	t.Run("ends when its time is over", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			r, d := newRig(t, oneTopic)
			d.Options.MaxWait = 20 * time.Second
			r.start(d)
			began := time.Now()
			for _, wait := range []int{5000, 1000, 3_600_000} {
				r.send(r.leader("t", 0), &Get{Request: protocol.GetRequest{WaitMs: wait}, Ticket: r.tickets.take()})
			}
			for _, want := range []time.Duration{time.Second, 5 * time.Second, 20 * time.Second} {
				select {
				case answer := <-r.probe.got:
					if got := values(t, answer); len(got) != 0 || time.Since(began) != want {
						t.Fatalf("%q after %s, want nothing after %s", got, time.Since(began), want)
					}
				case <-time.After(time.Hour):
					t.Fatal("no answer")
				}
			}
		})
	})
	t.Run("is bounded in number", func(t *testing.T) {
		r, _ := startOne(t, func(d *Deps) { d.Options.MaxParked = 2 })
		for range 3 {
			r.send(r.leader("t", 0), &Get{Request: protocol.GetRequest{WaitMs: 30_000}, Ticket: r.tickets.take()})
		}
		requireError(t, r.probe.next(t), protocol.ErrBusy)
	})
	t.Run("is answered when the partition fails or stops", func(t *testing.T) {
		r, l := startOne(t)
		park := func() {
			r.send(r.leader("t", 0), &Get{Request: protocol.GetRequest{Offset: ptr(protocol.Offset(0)), WaitMs: 30_000}, Ticket: r.tickets.take()})
			// Else the reader may take it after the failure that it is to be told of.
			r.wait("the get is parked", func() bool { return testutil.ToFloat64(r.env.metrics.parked) == 1 })
		}
		producer := newProbe(r.env.system)
		put := func() any {
			r.env.system.Root.RequestWithCustomSender(r.leader("t", 0), together(Put{Record: protocol.Record{Value: []byte("a")}}), producer.pid)
			return producer.next(t)
		}
		park()
		l.update(func(l *fakeLog) { l.appendErr = errDisk })
		requireError(t, put(), protocol.ErrPartition)
		requireError(t, r.probe.next(t), protocol.ErrPartition)
		r.wait("it serves again", func() bool {
			info := r.admin(DescribeTopic{"t"}).(protocol.TopicInfo)
			return info.Partitions[0].Leader == 0
		})
		park()
		if err := r.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		requireError(t, r.probe.next(t), protocol.ErrUnavailable)
	})
}

func TestOffsets(t *testing.T) {
	r, l := startOne(t)
	for _, v := range []string{"a", "b", "c"} {
		offsetOf(t, r.put(v))
	}
	l.update(func(l *fakeLog) {
		l.start = 1
		l.batches[2].header.MaxTime += 60_000
	})
	ask := func(at *time.Time) any {
		return r.ask(r.leader("t", 0), &Offsets{Request: protocol.OffsetsRequest{Time: at}, Ticket: r.tickets.take()})
	}
	later, never := time.Now().Add(30*time.Second), time.Now().Add(time.Hour)
	for _, tc := range []struct {
		at   *time.Time
		want protocol.Offset
	}{{nil, 3}, {&later, 2}, {&never, 3}} {
		want := protocol.OffsetsReply{LogStart: 1, EndOffset: 3, Offset: tc.want}
		if diff := cmp.Diff(any(want), ask(tc.at)); diff != "" {
			t.Errorf("%v: %s", tc.at, diff)
		}
	}
}

// A get does not see what is written but not yet committed.
func TestReadsEndBelowCommitted(t *testing.T) {
	r, l := startOne(t)
	offsetOf(t, r.put("a"))
	offsetOf(t, r.put("b"))
	r.all()
	syncing, goOn := l.stallSyncs()
	// The reader is asked directly: the partition is busy with its sync.
	reader := newProbe(r.env.system)
	pid := r.env.system.NewLocalPID("broker/topics/t/0-0/reader-1")
	r.sendPut("c")
	<-syncing
	r.env.system.Root.RequestWithCustomSender(pid, &Get{}, reader.pid)
	if diff := cmp.Diff([]string{"a", "b"}, values(t, reader.next(t))); diff != "" {
		t.Error(diff)
	}
	goOn <- true
	l.update(func(l *fakeLog) { l.beforeSync = nil })
	offsetOf(t, r.probe.next(t))
	r.env.system.Root.RequestWithCustomSender(pid, &Get{}, reader.pid)
	if diff := cmp.Diff([]string{"a", "b", "c"}, values(t, reader.next(t))); diff != "" {
		t.Error(diff)
	}
}
