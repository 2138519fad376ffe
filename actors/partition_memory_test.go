package actors

import (
	"sync/atomic"
	"testing"

	"metaq/protocol"
)

// lent counts who has not released it.
type lent struct{ users atomic.Int64 }

func (l *lent) Release(n int) { l.users.Add(-int64(n)) }

func (l *lent) put(r *rig, value string) Put {
	l.users.Add(1)
	return Put{Record: protocol.Record{Value: []byte(value)}, Ticket: r.tickets.take(), From: r.probe.pid, Memory: l}
}

// The memory of a message is released once it was copied: its write and sync do not matter.
func TestTheMemoryOfAMessageIsReleasedOnceItWasCopied(t *testing.T) {
	r, l := startOne(t)
	syncing, goOn := l.stallSyncs()
	var a, b lent
	r.env.tell(r.leader("t", 0), together(a.put(r, "a"), a.put(r, "b"), b.put(r, string(make([]byte, besideSize)))))
	<-syncing
	if a.users.Load() != 0 || b.users.Load() != 0 {
		t.Errorf("%d and %d were not released, or too often", a.users.Load(), b.users.Load())
	}
	l.update(func(l *fakeLog) { l.beforeSync = nil })
	goOn <- true
	for range 3 {
		offsetOf(t, r.probe.next(t))
	}
}

// The memory of a batch is what is written: it is released after that, and at once when
// the batch is not stored.
func TestTheMemoryOfABatchIsReleasedOnceItWasWritten(t *testing.T) {
	r, l := startOne(t)
	send := func(sequence int32) *lent {
		var b protocol.BatchBuilder
		if err := b.Add(&protocol.Record{Value: make([]byte, besideSize)}); err != nil {
			t.Fatal(err)
		}
		batch := b.Encode(protocol.CompressionNone, protocol.Producer{ID: 7, Sequence: sequence})
		h, err := protocol.CheckBatch(batch, 0)
		if err != nil {
			t.Fatal(err)
		}
		m := new(lent)
		m.users.Add(1)
		r.send(r.leader("t", 0), &PutBatch{Batch: batch, Header: h, Ticket: r.tickets.take(), Memory: m})
		return m
	}
	syncing, goOn := l.stallSyncs()
	stored := send(0)
	<-syncing
	if stored.users.Load() != 1 {
		t.Error("a batch's memory was released while it is written")
	}
	l.update(func(l *fakeLog) { l.beforeSync = nil })
	goOn <- true
	offsetOf(t, r.probe.next(t))
	again, ahead := send(0), send(5)
	offsetOf(t, r.probe.next(t))
	requireError(t, r.probe.next(t), protocol.ErrConflict)
	for name, m := range map[string]*lent{"stored": stored, "a duplicate": again, "refused": ahead} {
		if n := m.users.Load(); n != 0 {
			t.Errorf("%s: %d were not released, or too often", name, n)
		}
	}
}

// Messages, and batches that are written together, lie where the disk can fetch them from;
// also those that came while others were written.
func TestWhatIsWrittenLiesWhereTheLogWantsIt(t *testing.T) {
	r, l := startOne(t)
	syncing, goOn := l.stallSyncs()
	value := string(make([]byte, besideSize))
	r.sendPut(value)
	<-syncing
	const rounds = 5
	for i := range rounds {
		for range 3 {
			r.sendPut(value + "x")
		}
		if i == 2 { // a batch among them
			b := encodeBatch(t, protocol.Producer{ID: protocol.NoProducer}, 1)
			h, err := protocol.CheckBatch(b, 0)
			if err != nil {
				t.Fatal(err)
			}
			r.send(r.leader("t", 0), &PutBatch{Batch: b, Header: h, Ticket: r.tickets.take()})
		}
		goOn <- true
		<-syncing
	}
	l.update(func(l *fakeLog) { l.beforeSync = nil })
	goOn <- true
	for range 1 + 3*rounds + 1 {
		offsetOf(t, r.probe.next(t))
	}
	l.update(func(l *fakeLog) {
		if l.inPlace != l.appends {
			t.Errorf("%d of %d appends lay there", l.inPlace, l.appends)
		}
	})
}
