package system

import (
	"testing"
	"time"

	"metaq/actors"
	"metaq/actors/actorstest"
	"metaq/actors/partition"
	"metaq/protocol"
)

// Where puts lie is given back as they are answered, however that comes about.
func TestWherePutsLieIsGivenBack(t *testing.T) {
	puts := func(r *rig, n int, size int) *actors.Puts {
		var all []actors.Put
		for range n {
			all = append(all, actors.Put{Record: protocol.Record{Value: make([]byte, size)}, Ticket: r.tickets.Take(), From: r.probe.Pid})
		}
		return actorstest.Together(all...)
	}
	given := func(r *rig, m *actors.Puts) {
		r.t.Helper()
		for range m.All {
			r.probe.Next(r.t)
		}
		r.wait("all is given back", func() bool { return m.Memory.(*actorstest.Lent).Users.Load() == 0 && r.tickets.Held.Load() == 0 })
	}
	for name, play := range map[string]func(r *rig, l *actorstest.Log) *actors.Puts{
		"few":  func(r *rig, _ *actorstest.Log) *actors.Puts { return puts(r, 3, 10) },
		"many": func(r *rig, _ *actorstest.Log) *actors.Puts { return puts(r, 2*partition.ManyAnswers, 10) },
		"more than one write takes": func(r *rig, _ *actorstest.Log) *actors.Puts {
			return puts(r, 50, 1000)
		},
		"checked among them, and one of them twice": func(r *rig, _ *actorstest.Log) *actors.Puts {
			m := puts(r, 9, 10)
			for i := 2; i < 7; i++ {
				m.All[i].Check = &actors.Check{ID: string(rune('a' + i%4))}
				m.All[i].Record.Headers = []protocol.Header{{Name: protocol.HeaderMsgID, Value: m.All[i].Check.ID}}
			}
			return m
		},
		"one expects what is not so": func(r *rig, _ *actorstest.Log) *actors.Puts {
			m := puts(r, 5, 10)
			m.All[2].Check = &actors.Check{LastSequence: actorstest.Ptr(uint64(99))}
			return m
		},
		"no room on the disk": func(r *rig, l *actorstest.Log) *actors.Puts {
			l.Update(func(l *actorstest.Log) { l.AppendErr = protocol.ErrDiskFull })
			return puts(r, 5, 10)
		},
		"the disk fails": func(r *rig, l *actorstest.Log) *actors.Puts {
			l.Update(func(l *actorstest.Log) { l.SyncErr = actorstest.ErrDisk })
			return puts(r, 5, 10)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, l := startOne(t, func(d *Deps) {
				d.Options.FlushBytes = 10_000
				d.Resolve = func(string, protocol.TopicConfig) (actors.Settings, error) {
					return actors.Settings{DuplicateWindow: time.Hour}, nil
				}
			})
			m := play(r, l)
			r.env.Tell(r.leader("t", 0), m)
			given(r, m)
		})
	}
}

func (r *rig) lendTo(l *actorstest.Lent, value string) actors.Put {
	l.Users.Add(1)
	return actors.Put{Record: protocol.Record{Value: []byte(value)}, Ticket: r.tickets.Take(), From: r.probe.Pid, Memory: l}
}

// The memory of a message is released once it was copied: its write and sync do not matter.
func TestTheMemoryOfAMessageIsReleasedOnceItWasCopied(t *testing.T) {
	r, l := startOne(t)
	syncing, goOn := l.StallSyncs()
	var a, b actorstest.Lent
	r.env.Tell(r.leader("t", 0), actorstest.Together(r.lendTo(&a, "a"), r.lendTo(&a, "b"), r.lendTo(&b, string(make([]byte, partition.InlineSize)))))
	<-syncing
	if a.Users.Load() != 0 || b.Users.Load() != 0 {
		t.Errorf("%d and %d were not released, or too often", a.Users.Load(), b.Users.Load())
	}
	l.Update(func(l *actorstest.Log) { l.BeforeSync = nil })
	goOn <- true
	for range 3 {
		actorstest.OffsetOf(t, r.probe.Next(t))
	}
}

// The memory of a batch is what is written: it is released after that, and at once when
// the batch is not stored.
func TestTheMemoryOfABatchIsReleasedOnceItWasWritten(t *testing.T) {
	r, l := startOne(t)
	send := func(sequence int32) *actorstest.Lent {
		var b protocol.BatchBuilder
		if err := b.Add(&protocol.Record{Value: make([]byte, partition.InlineSize)}); err != nil {
			t.Fatal(err)
		}
		batch := b.Encode(protocol.CompressionNone, protocol.Producer{ID: 7, Sequence: sequence})
		h, err := protocol.CheckBatch(batch, 0)
		if err != nil {
			t.Fatal(err)
		}
		m := new(actorstest.Lent)
		m.Users.Add(1)
		r.send(r.leader("t", 0), &actors.PutBatch{Batch: batch, Header: h, Ticket: r.tickets.Take(), Memory: m})
		return m
	}
	syncing, goOn := l.StallSyncs()
	stored := send(0)
	<-syncing
	if stored.Users.Load() != 1 {
		t.Error("a batch's memory was released while it is written")
	}
	l.Update(func(l *actorstest.Log) { l.BeforeSync = nil })
	goOn <- true
	actorstest.OffsetOf(t, r.probe.Next(t))
	again, ahead := send(0), send(5)
	actorstest.OffsetOf(t, r.probe.Next(t))
	actorstest.RequireError(t, r.probe.Next(t), protocol.ErrConflict)
	for name, m := range map[string]*actorstest.Lent{"stored": stored, "a duplicate": again, "refused": ahead} {
		if n := m.Users.Load(); n != 0 {
			t.Errorf("%s: %d were not released, or too often", name, n)
		}
	}
}

// Messages, and batches that are written together, lie where the disk can fetch them from;
// also those that came while others were written.
func TestWhatIsWrittenLiesWhereTheLogWantsIt(t *testing.T) {
	r, l := startOne(t)
	syncing, goOn := l.StallSyncs()
	value := string(make([]byte, partition.InlineSize))
	r.sendPut(value)
	<-syncing
	const rounds = 5
	for i := range rounds {
		for range 3 {
			r.sendPut(value + "x")
		}
		if i == 2 { // a batch among them
			b := actorstest.EncodeBatch(t, protocol.Producer{ID: protocol.NoProducer}, 1)
			h, err := protocol.CheckBatch(b, 0)
			if err != nil {
				t.Fatal(err)
			}
			r.send(r.leader("t", 0), &actors.PutBatch{Batch: b, Header: h, Ticket: r.tickets.Take()})
		}
		goOn <- true
		<-syncing
	}
	l.Update(func(l *actorstest.Log) { l.BeforeSync = nil })
	goOn <- true
	for range 1 + 3*rounds + 1 {
		actorstest.OffsetOf(t, r.probe.Next(t))
	}
	l.Update(func(l *actorstest.Log) {
		if l.InPlace != l.Appends {
			t.Errorf("%d of %d appends lay there", l.InPlace, l.Appends)
		}
	})
}

// When a segment begins, what was collected for the one before lies wrong; what comes then
// does not, nor what comes to a log that is opened.
func TestWhatIsWrittenLiesRightAgainAfterARoll(t *testing.T) {
	r, l := startOne(t)
	value := string(make([]byte, partition.InlineSize))
	l.Update(func(l *actorstest.Log) { l.Rolls = 4 })
	for range 13 {
		actorstest.OffsetOf(t, r.put(value))
	}
	l.Update(func(l *actorstest.Log) {
		if l.InPlace != l.Appends { // each is collected when the one before is done
			t.Errorf("%d of %d appends lay right", l.InPlace, l.Appends)
		}
		l.SyncErr, l.Appends, l.InPlace = actorstest.ErrDisk, 0, 0
	})
	actorstest.RequireError(t, r.put("fails"), protocol.ErrPartition)
	r.wait("it serves again", func() bool {
		_, ok := r.put(value).(protocol.PubAck)
		return ok
	})
	l.Update(func(l *actorstest.Log) {
		if wrong := l.Appends - l.InPlace; wrong > 1 { // "fails" is small
			t.Errorf("%d of %d appends lay wrong after it was opened again", wrong, l.Appends)
		}
	})
}
