package actors

import (
	"sync/atomic"
	"testing"
	"time"

	"metaq/protocol"
)

// lent counts who has not released it.
type lent struct{ users atomic.Int64 }

func (l *lent) Release(n int) {
	if l.users.Add(-int64(n)) < 0 {
		panic("memory was released more often than it was used")
	}
}

// Where puts lie is given back as they are answered, however that comes about.
func TestWherePutsLieIsGivenBack(t *testing.T) {
	puts := func(r *rig, n int, size int) *Puts {
		var all []Put
		for range n {
			all = append(all, Put{Record: protocol.Record{Value: make([]byte, size)}, Ticket: r.tickets.take(), From: r.probe.pid})
		}
		return together(all...)
	}
	given := func(r *rig, m *Puts) {
		r.t.Helper()
		for range m.All {
			r.probe.next(r.t)
		}
		r.wait("all is given back", func() bool { return m.Memory.(*lent).users.Load() == 0 && r.tickets.held.Load() == 0 })
	}
	for name, play := range map[string]func(r *rig, l *fakeLog) *Puts{
		"few":  func(r *rig, _ *fakeLog) *Puts { return puts(r, 3, 10) },
		"many": func(r *rig, _ *fakeLog) *Puts { return puts(r, 2*manyAnswers, 10) },
		"more than one write takes": func(r *rig, _ *fakeLog) *Puts {
			return puts(r, 50, 1000)
		},
		"checked among them, and one of them twice": func(r *rig, _ *fakeLog) *Puts {
			m := puts(r, 9, 10)
			for i := 2; i < 7; i++ {
				m.All[i].Check = &Check{ID: string(rune('a' + i%4))}
				m.All[i].Record.Headers = []protocol.Header{{Name: protocol.HeaderMsgID, Value: m.All[i].Check.ID}}
			}
			return m
		},
		"one expects what is not so": func(r *rig, _ *fakeLog) *Puts {
			m := puts(r, 5, 10)
			m.All[2].Check = &Check{LastSequence: ptr(uint64(99))}
			return m
		},
		"no room on the disk": func(r *rig, l *fakeLog) *Puts {
			l.update(func(l *fakeLog) { l.appendErr = protocol.ErrDiskFull })
			return puts(r, 5, 10)
		},
		"the disk fails": func(r *rig, l *fakeLog) *Puts {
			l.update(func(l *fakeLog) { l.syncErr = errDisk })
			return puts(r, 5, 10)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, l := startOne(t, func(d *Deps) {
				d.Options.FlushBytes = 10_000
				d.Resolve = func(string, protocol.TopicConfig) (Settings, error) {
					return Settings{DuplicateWindow: time.Hour}, nil
				}
			})
			m := play(r, l)
			r.env.tell(r.leader("t", 0), m)
			given(r, m)
		})
	}
}

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

// When a segment begins, what was collected for the one before lies wrong; what comes then
// does not, nor what comes to a log that is opened.
func TestWhatIsWrittenLiesRightAgainAfterARoll(t *testing.T) {
	r, l := startOne(t)
	value := string(make([]byte, besideSize))
	l.update(func(l *fakeLog) { l.rolls = 4 })
	for range 13 {
		offsetOf(t, r.put(value))
	}
	l.update(func(l *fakeLog) {
		if l.inPlace != l.appends { // each is collected when the one before is done
			t.Errorf("%d of %d appends lay right", l.inPlace, l.appends)
		}
		l.syncErr, l.appends, l.inPlace = errDisk, 0, 0
	})
	requireError(t, r.put("fails"), protocol.ErrPartition)
	r.wait("it serves again", func() bool {
		_, ok := r.put(value).(protocol.PubAck)
		return ok
	})
	l.update(func(l *fakeLog) {
		if wrong := l.appends - l.inPlace; wrong > 1 { // "fails" is small
			t.Errorf("%d of %d appends lay wrong after it was opened again", wrong, l.appends)
		}
	})
}
