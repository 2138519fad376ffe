package transport

import (
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"metaq/protocol"
)

// stuckWrites is a socket whose writes wait, once it is stuck, until it is released.
type stuckWrites struct {
	net.Conn
	s *stuck
}

type stuck struct {
	now      chan struct{} // closed: writes wait
	waits    chan struct{} // gets something when one waits
	released chan struct{}
}

func newStuck() *stuck {
	return &stuck{now: make(chan struct{}), waits: make(chan struct{}, 100), released: make(chan struct{})}
}

func (c stuckWrites) Write(p []byte) (int, error) {
	select {
	case <-c.s.now:
		c.s.waits <- struct{}{}
		<-c.s.released
	default:
	}
	return c.Conn.Write(p)
}

// Nobody waits for an answer that NATS does not take: not the dispatcher, and no actor.
func TestAnAnswerThatNATSDoesNotTakeHoldsNobodyUp(t *testing.T) {
	at := newStuck()
	r := newRig(t, func(o *Options) {
		connect := o.Connect
		o.Connect = func(wrap func(net.Conn) net.Conn, opts ...nats.Option) (*nats.Conn, error) {
			return connect(func(c net.Conn) net.Conn { return stuckWrites{wrap(c), at} }, opts...)
		}
	})
	release := sync.OnceFunc(func() { close(at.released) })
	defer release()
	close(at.now)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 10 {
			r.answer("_INBOX.x", protocol.ErrNoTopic.With("%s", strings.Repeat("a", 100<<10)))
		}
	}()
	<-at.waits
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("who answers waits for NATS")
	}
	release()
	eventually(t, "all are written", func() bool { n, _ := r.writer.waiting(); return n == 0 })
	ackOf(t, r.ask("metaq.put.t.0-0", nil, "x"))
}

// Answers to gets fill up their own room; what does not fit is dropped, given back and
// counted, and the answers of everybody else go first.
func TestGetsThatAreNotReadDisplaceNoOtherAnswers(t *testing.T) {
	var sent []string
	begun, goOn := make(chan struct{}), make(chan struct{})
	w := startWriter(func(l *letter) {
		if sent = append(sent, l.reply); len(sent) == 1 {
			close(begun)
			<-goOn
		}
	})
	get := func(reply string) *letter {
		return &letter{reply: reply, data: make([]byte, largeLetters.Bytes/2), large: true}
	}
	if !w.add(get("1")) {
		t.Fatal("the first has no room")
	}
	<-begun
	for _, reply := range []string{"2", "3"} {
		if !w.add(get(reply)) {
			t.Errorf("%s has no room", reply)
		}
	}
	if w.add(get("4")) {
		t.Error("there is room without end")
	}
	if !w.add(&letter{reply: "ack", data: []byte("a")}) {
		t.Error("gets keep an acknowledgement out")
	}
	close(goOn)
	w.close()
	if diff := cmp.Diff([]string{"1", "ack", "2", "3"}, sent); diff != "" {
		t.Error(diff)
	}
	if w.add(get("5")) {
		t.Error("a closed one takes more")
	}
}

func TestADroppedAnswerIsCountedAndGivenBack(t *testing.T) {
	r := newRig(t, nil)
	r.writer.close()
	free := 0
	r.byNATS(letter{nc: r.Gateway.nc, reply: "_INBOX.x", large: true, free: func() { free++ }})
	if n := r.metric("metaq_answers_dropped_total"); n != 1 || free != 1 {
		t.Errorf("%v counted, given back %d times", n, free)
	}
}
