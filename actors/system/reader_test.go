package system

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"metaq/actors"
	"metaq/actors/actorstest"
	"metaq/protocol"
)

func TestGetOutOfRange(t *testing.T) {
	r, l := startOne(t)
	for _, v := range []string{"a", "b", "c"} {
		actorstest.OffsetOf(t, r.put(v))
	}
	l.Update(func(l *actorstest.Log) { l.LogStart = 1 })
	for _, offset := range []protocol.Offset{0, 4} {
		answer := r.get("t", 0, protocol.GetRequest{Offset: &offset})
		actorstest.RequireError(t, answer, protocol.ErrRange)
		var out *protocol.RangeError
		if err, _ := answer.(error); !errors.As(err, &out) || out.LogStart != 1 || out.EndOffset != 3 {
			t.Fatalf("offset %d: %#v", offset, answer)
		}
	}
	if diff := cmp.Diff([]string{"b", "c"}, r.all()); diff != "" {
		t.Fatal(diff) // without an offset: from the log start
	}
	end := r.get("t", 0, protocol.GetRequest{Offset: actorstest.Ptr(protocol.Offset(3))}).(*actors.GetResult)
	want := &actors.GetResult{Topic: "t", LogStart: 1, EndOffset: 3, From: 3, Epoch: 1, MaxMessages: 1000, Format: protocol.FormatJSON}
	end.Release()
	end.Release = nil
	if diff := cmp.Diff(want, end); diff != "" {
		t.Fatal(diff)
	}
}

func TestGetIsBounded(t *testing.T) {
	r, _ := startOne(t, func(d *Deps) { d.Options.MaxTransferSize = 300 })
	for i := range 9 {
		actorstest.OffsetOf(t, r.put(fmt.Sprint(i)))
	}
	for _, max := range []int{0, 1 << 30} {
		got := actorstest.Values(t, r.get("t", 0, protocol.GetRequest{MaxBytes: max}))
		if len(got) != 3 {
			t.Fatalf("max_bytes %d: %d batches of about 85 bytes, want 3", max, len(got))
		}
	}
	if got := actorstest.Values(t, r.get("t", 0, protocol.GetRequest{MaxBytes: 1})); len(got) != 1 {
		t.Fatalf("%d batches, want at least and at most one", len(got))
	}
}

func TestAGetMayHaveSeveralAnswers(t *testing.T) {
	r, _ := startOne(t, func(d *Deps) { d.Options.MaxTransferSize = 170 }) // two batches of about 85 bytes
	for i := range 9 {
		actorstest.OffsetOf(t, r.put(fmt.Sprint(i)))
	}
	for _, tc := range []struct {
		name string
		get  protocol.GetRequest
		want [][]string
	}{
		{"up to the end", protocol.GetRequest{Format: protocol.FormatBatch, Answers: 9}, [][]string{{"0", "1"}, {"2", "3"}, {"4", "5"}, {"6", "7"}, {"8"}}},
		{"as many as wanted", protocol.GetRequest{Format: protocol.FormatBatch, Answers: 2, Offset: actorstest.Ptr(protocol.Offset(5))}, [][]string{{"5", "6"}, {"7", "8"}}},
		{"one by default", protocol.GetRequest{Format: protocol.FormatBatch}, [][]string{{"0", "1"}}},
		{"one in JSON", protocol.GetRequest{Answers: 9}, [][]string{{"0", "1"}}},
		{"one at the end", protocol.GetRequest{Format: protocol.FormatBatch, Answers: 9, Offset: actorstest.Ptr(protocol.Offset(9))}, [][]string{nil}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r.send(r.leader("t", 0), &actors.Get{Request: tc.get, Ticket: r.tickets.Take()})
			for i, want := range tc.want {
				got, ok := r.probe.Next(t).(*actors.GetResult)
				if !ok || got.More != (i < len(tc.want)-1) {
					t.Fatalf("answer %d: %+v", i, got)
				}
				if got.Frame != nil {
					h, batches, err := protocol.ParseFetch(got.Frame)
					if err != nil || h.More != got.More || h.LogStart != 0 || h.EndOffset != 9 || string(batches) != string(got.Batches) {
						t.Errorf("answer %d: frame %+v, %v", i, h, err)
					}
				}
				if diff := cmp.Diff(want, actorstest.Values(t, got)); diff != "" {
					t.Errorf("answer %d (-want +got):\n%s", i, diff)
				}
			}
		})
	}
}

func TestLongPoll(t *testing.T) {
	t.Run("is woken by the next message", func(t *testing.T) {
		actorstest.Bubble(t, func(t *testing.T) {
			r, d := newRig(t, oneTopic)
			r.start(d)
			began := time.Now()
			const n = 50
			for range n {
				r.send(r.leader("t", 0), &actors.Get{Request: protocol.GetRequest{WaitMs: 30_000}, Ticket: r.tickets.Take()})
			}
			synctest.Wait() // all are parked
			producer := actorstest.NewProbe(r.env.System)
			r.env.System.Root.RequestWithCustomSender(r.leader("t", 0), actorstest.Together(actors.Put{Record: protocol.Record{Value: []byte("a")}}), producer.Pid)
			for range n {
				if diff := cmp.Diff([]string{"a"}, actorstest.Values(t, r.probe.Next(t))); diff != "" {
					t.Fatal(diff)
				}
			}
			actorstest.OffsetOf(t, producer.Next(t))
			if waited := time.Since(began); waited != 0 {
				t.Fatalf("answered after %s, the message came at once", waited)
			}
		})
	})
	t.Run("ends when its time is over", func(t *testing.T) {
		actorstest.Bubble(t, func(t *testing.T) {
			r, d := newRig(t, oneTopic)
			d.Options.MaxWait = 20 * time.Second
			r.start(d)
			began := time.Now()
			for _, wait := range []int{5000, 1000, 3_600_000} {
				r.send(r.leader("t", 0), &actors.Get{Request: protocol.GetRequest{WaitMs: wait}, Ticket: r.tickets.Take()})
			}
			for _, want := range []time.Duration{time.Second, 5 * time.Second, 20 * time.Second} {
				select {
				case answer := <-r.probe.Got:
					if got := actorstest.Values(t, answer); len(got) != 0 || time.Since(began) != want {
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
			r.send(r.leader("t", 0), &actors.Get{Request: protocol.GetRequest{WaitMs: 30_000}, Ticket: r.tickets.Take()})
		}
		actorstest.RequireError(t, r.probe.Next(t), protocol.ErrBusy)
	})
	t.Run("is answered when the partition fails or stops", func(t *testing.T) {
		metrics := prometheus.NewRegistry()
		r, l := startOne(t, func(d *Deps) { d.Metrics = metrics })
		park := func() {
			r.send(r.leader("t", 0), &actors.Get{Request: protocol.GetRequest{Offset: actorstest.Ptr(protocol.Offset(0)), WaitMs: 30_000}, Ticket: r.tickets.Take()})
			// Else the reader may take it after the failure that it is to be told of.
			r.wait("the get is parked", func() bool { return gauge(t, metrics, "metaq_parked_fetches") == 1 })
		}
		producer := actorstest.NewProbe(r.env.System)
		put := func() any {
			r.env.System.Root.RequestWithCustomSender(r.leader("t", 0), actorstest.Together(actors.Put{Record: protocol.Record{Value: []byte("a")}}), producer.Pid)
			return producer.Next(t)
		}
		park()
		l.Update(func(l *actorstest.Log) { l.AppendErr = actorstest.ErrDisk })
		actorstest.RequireError(t, put(), protocol.ErrPartition)
		actorstest.RequireError(t, r.probe.Next(t), protocol.ErrPartition)
		r.wait("it serves again", func() bool {
			info := r.admin(actors.DescribeTopic{Topic: "t"}).(protocol.TopicInfo)
			return info.Partitions[0].Leader == 0
		})
		park()
		if err := r.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		actorstest.RequireError(t, r.probe.Next(t), protocol.ErrUnavailable)
	})
}

func TestOffsets(t *testing.T) {
	r, l := startOne(t)
	for _, v := range []string{"a", "b", "c"} {
		actorstest.OffsetOf(t, r.put(v))
	}
	l.Update(func(l *actorstest.Log) {
		l.LogStart = 1
		l.Batches[2].Header.MaxTime += 60_000
	})
	ask := func(at *time.Time) any {
		return r.ask(r.leader("t", 0), &actors.Offsets{Request: protocol.OffsetsRequest{Time: at}, Ticket: r.tickets.Take()})
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
	actorstest.OffsetOf(t, r.put("a"))
	actorstest.OffsetOf(t, r.put("b"))
	r.all()
	syncing, goOn := l.StallSyncs()
	// The reader is asked directly: the partition is busy with its sync.
	reader := actorstest.NewProbe(r.env.System)
	pid := r.env.System.NewLocalPID("broker/topics/t/0-0/reader-1")
	r.sendPut("c")
	<-syncing
	r.env.System.Root.RequestWithCustomSender(pid, &actors.Get{}, reader.Pid)
	if diff := cmp.Diff([]string{"a", "b"}, actorstest.Values(t, reader.Next(t))); diff != "" {
		t.Error(diff)
	}
	goOn <- true
	l.Update(func(l *actorstest.Log) { l.BeforeSync = nil })
	actorstest.OffsetOf(t, r.probe.Next(t))
	r.env.System.Root.RequestWithCustomSender(pid, &actors.Get{}, reader.Pid)
	if diff := cmp.Diff([]string{"a", "b", "c"}, actorstest.Values(t, reader.Next(t))); diff != "" {
		t.Error(diff)
	}
}
