package system

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"metaq/actors"
	"metaq/actors/actorstest"
	"metaq/actors/partition"
	"metaq/protocol"
)

// startWithIDs is startOne with a window, and a message in the log.
func startWithIDs(t testing.TB) (*rig, *actorstest.Log) {
	t.Helper()
	r, l := startOne(t, func(d *Deps) {
		d.Resolve = func(string, protocol.TopicConfig) (actors.Settings, error) {
			return actors.Settings{DuplicateWindow: time.Hour}, nil
		}
	})
	if got := actorstest.OffsetOf(t, r.put("before")); got != 0 {
		t.Fatalf("offset %d", got)
	}
	return r, l
}

func (r *rig) sendWithID(id string) {
	r.send(r.leader("t", 0), actorstest.Together(actors.Put{
		Record: protocol.Record{Value: []byte(id), Headers: []protocol.Header{{Name: protocol.HeaderMsgID, Value: id}}},
		Check:  &actors.Check{ID: id}, Ticket: r.tickets.Take(),
	}))
}

// block lets the worker that reads the ids wait for goOn.
func block(l *actorstest.Log) (begun, goOn chan bool) {
	begun, goOn = make(chan bool), make(chan bool)
	l.Update(func(l *actorstest.Log) {
		l.OnStart = func() {
			begun <- true
			<-goOn
		}
	})
	return begun, goOn
}

// The first id makes a worker read the log; all puts wait for it in their order.
func TestPutsWaitWhileTheIDsAreRead(t *testing.T) {
	r, l := startWithIDs(t)
	begun, goOn := block(l)
	r.sendWithID("a")
	<-begun
	r.sendPut("without an id")
	r.sendWithID("a")
	r.sendWithID("b")
	if len(r.probe.Got) != 0 {
		t.Fatal("a put overtook the one that waits for the ids")
	}
	goOn <- true
	for i, want := range []protocol.Offset{1, 2, 1, 3} {
		ack := r.probe.Next(t)
		if got := actorstest.OffsetOf(t, ack); got != want || ack.(protocol.PubAck).Duplicate != (i == 2) {
			t.Errorf("answer %d is %+v, want offset %d", i, ack, want)
		}
	}
	if held := r.tickets.Held.Load(); held != 0 {
		t.Errorf("%d tickets are held", held)
	}
}

// A message that is being written when the ids are read again is in the log that is read.
func TestTheIDsOfWhatIsBeingWrittenAreRead(t *testing.T) {
	r, l := startOne(t, func(d *Deps) {
		d.Resolve = func(_ string, c protocol.TopicConfig) (actors.Settings, error) {
			if c.AcceptPublish != nil { // it was set
				return actors.Settings{DuplicateWindow: 2 * time.Hour}, nil
			}
			return actors.Settings{DuplicateWindow: time.Hour}, nil
		}
	})
	r.sendWithID("first")
	actorstest.OffsetOf(t, r.probe.Next(t))
	syncing, goOn := l.StallSyncs()
	large := strings.Repeat("x", partition.InlineSize) // its write leaves the partition free
	r.sendWithID(large)
	<-syncing
	r.admin(actors.SetTopic{Request: protocol.TopicSet{Topic: "t", Config: protocol.TopicConfig{AcceptPublish: actorstest.Ptr(true)}}})
	r.sendWithID(large)
	goOn <- true
	l.Update(func(l *actorstest.Log) { l.BeforeSync = nil })
	for i := range 2 {
		ack := r.probe.Next(t)
		if got := actorstest.OffsetOf(t, ack); got != 1 || ack.(protocol.PubAck).Duplicate != (i == 1) {
			t.Errorf("answer %d is %+v, want offset 1", i, ack)
		}
	}
}

// A write that panics, of what came before a put that has to wait for the ids, leaves nobody
// without an answer.
func TestACrashBeforeTheIDsAreRead(t *testing.T) {
	r, l := startWithIDs(t)
	l.Update(func(l *actorstest.Log) { l.PanicNext = true })
	r.send(r.leader("t", 0), actorstest.Together(
		actors.Put{Record: protocol.Record{Value: []byte("x")}, Ticket: r.tickets.Take()},
		actors.Put{Record: protocol.Record{Value: []byte("y")}, Check: &actors.Check{ID: "y"}, Ticket: r.tickets.Take()},
	))
	for range 2 {
		actorstest.RequireError(t, r.probe.Next(t), protocol.ErrPartition)
	}
	if held := r.tickets.Held.Load(); held != 0 {
		t.Errorf("%d tickets are held", held)
	}
}

func TestPutsThatWaitForTheIDsAreAnsweredAtTheEnd(t *testing.T) {
	r, l := startWithIDs(t)
	begun, goOn := block(l)
	for i := range 10 {
		r.sendWithID(fmt.Sprint(i))
	}
	<-begun
	stopped := make(chan error)
	go func() { stopped <- r.Stop(t.Context()) }()
	for range 10 {
		var refusal *protocol.Error
		if err, ok := r.probe.Next(t).(error); !ok || !errors.As(err, &refusal) || refusal.Class() != protocol.Retry {
			t.Errorf("answer %v, want one that says: try again", err)
		}
	}
	goOn <- true
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if held := r.tickets.Held.Load(); held != 0 {
		t.Errorf("%d tickets are held", held)
	}
}

func TestIDsThatCannotBeReadRefuseThePutsThatWait(t *testing.T) {
	r, l := startWithIDs(t)
	l.Update(func(l *actorstest.Log) { l.ReadErr = actorstest.ErrDisk })
	r.sendWithID("a")
	if err, ok := r.probe.Next(t).(error); !ok || !errors.Is(err, protocol.ErrPartition) {
		t.Errorf("answer %v, want %v", err, protocol.ErrPartition)
	}
	r.sendWithID("a") // the disk is well again
	if got := actorstest.OffsetOf(t, r.probe.Next(t)); got != 1 {
		t.Errorf("offset %d, want 1", got)
	}
}
