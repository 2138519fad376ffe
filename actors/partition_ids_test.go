package actors

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"metaq/protocol"
)

// startWithIDs is startOne with a window, and a message in the log.
func startWithIDs(t testing.TB) (*rig, *fakeLog) {
	t.Helper()
	r, l := startOne(t, func(d *Deps) {
		d.Resolve = func(string, protocol.TopicConfig) (Settings, error) {
			return Settings{DuplicateWindow: time.Hour}, nil
		}
	})
	if got := offsetOf(t, r.put("before")); got != 0 {
		t.Fatalf("offset %d", got)
	}
	return r, l
}

func (r *rig) sendWithID(id string) {
	r.send(r.leader("t", 0), together(Put{
		Record: protocol.Record{Value: []byte(id), Headers: []protocol.Header{{Name: protocol.HeaderMsgID, Value: id}}},
		Check:  &Check{ID: id}, Ticket: r.tickets.take(),
	}))
}

// block lets the worker that reads the ids wait for goOn.
func block(l *fakeLog) (begun, goOn chan bool) {
	begun, goOn = make(chan bool), make(chan bool)
	l.update(func(l *fakeLog) {
		l.onStart = func() {
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
	if len(r.probe.got) != 0 {
		t.Fatal("a put overtook the one that waits for the ids")
	}
	goOn <- true
	for i, want := range []protocol.Offset{1, 2, 1, 3} {
		ack := r.probe.next(t)
		if got := offsetOf(t, ack); got != want || ack.(protocol.PubAck).Duplicate != (i == 2) {
			t.Errorf("answer %d is %+v, want offset %d", i, ack, want)
		}
	}
	if held := r.tickets.held.Load(); held != 0 {
		t.Errorf("%d tickets are held", held)
	}
}

// A message that is being written when the ids are read again is in the log that is read.
func TestTheIDsOfWhatIsBeingWrittenAreRead(t *testing.T) {
	r, l := startOne(t, func(d *Deps) {
		d.Resolve = func(_ string, c protocol.TopicConfig) (Settings, error) {
			if c.AcceptPublish != nil { // it was set
				return Settings{DuplicateWindow: 2 * time.Hour}, nil
			}
			return Settings{DuplicateWindow: time.Hour}, nil
		}
	})
	r.sendWithID("first")
	offsetOf(t, r.probe.next(t))
	syncing, goOn := l.stallSyncs()
	large := strings.Repeat("x", besideSize) // its write leaves the partition free
	r.sendWithID(large)
	<-syncing
	r.admin(SetTopic{protocol.TopicSet{Topic: "t", Config: protocol.TopicConfig{AcceptPublish: ptr(true)}}})
	r.sendWithID(large)
	goOn <- true
	l.update(func(l *fakeLog) { l.beforeSync = nil })
	for i := range 2 {
		ack := r.probe.next(t)
		if got := offsetOf(t, ack); got != 1 || ack.(protocol.PubAck).Duplicate != (i == 1) {
			t.Errorf("answer %d is %+v, want offset 1", i, ack)
		}
	}
}

// A write that panics, of what came before a put that has to wait for the ids, leaves nobody
// without an answer.
func TestACrashBeforeTheIDsAreRead(t *testing.T) {
	r, l := startWithIDs(t)
	l.update(func(l *fakeLog) { l.panicNext = true })
	r.send(r.leader("t", 0), together(
		Put{Record: protocol.Record{Value: []byte("x")}, Ticket: r.tickets.take()},
		Put{Record: protocol.Record{Value: []byte("y")}, Check: &Check{ID: "y"}, Ticket: r.tickets.take()},
	))
	for range 2 {
		requireError(t, r.probe.next(t), protocol.ErrPartition)
	}
	if held := r.tickets.held.Load(); held != 0 {
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
		if err, ok := r.probe.next(t).(error); !ok || !errors.As(err, &refusal) || refusal.Class() != protocol.Retry {
			t.Errorf("answer %v, want one that says: try again", err)
		}
	}
	goOn <- true
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if held := r.tickets.held.Load(); held != 0 {
		t.Errorf("%d tickets are held", held)
	}
}

func TestIDsThatCannotBeReadRefuseThePutsThatWait(t *testing.T) {
	r, l := startWithIDs(t)
	l.update(func(l *fakeLog) { l.readErr = errDisk })
	r.sendWithID("a")
	if err, ok := r.probe.next(t).(error); !ok || !errors.Is(err, protocol.ErrPartition) {
		t.Errorf("answer %v, want %v", err, protocol.ErrPartition)
	}
	r.sendWithID("a") // the disk is well again
	if got := offsetOf(t, r.probe.next(t)); got != 1 {
		t.Errorf("offset %d, want 1", got)
	}
}

func TestTwoTopicsDoNotListenToOneSubject(t *testing.T) {
	c := topicsCore{opts: Options{}.withDefaults(), byName: map[string]*topicEntry{}}
	c.resolve = func(_ string, c protocol.TopicConfig) (Settings, error) { return Settings{Subjects: *c.Subjects}, nil }
	for _, step := range []struct {
		topic   string
		filters []string
		want    error
	}{
		{"a", []string{"orders.>", "billing.*"}, nil},
		{"b", []string{"orders.eu"}, protocol.ErrConflict},
		{"b", []string{"x.*.z", "x.y.>"}, protocol.ErrConflict},
		{"b", []string{"billing", "billing.a.b"}, nil},
	} {
		_, err := c.create(protocol.TopicCreate{Topic: step.topic, Config: protocol.TopicConfig{Subjects: &step.filters}})
		if !errors.Is(err, step.want) {
			t.Errorf("%s %v: %v, want %v", step.topic, step.filters, err, step.want)
		}
	}
}
