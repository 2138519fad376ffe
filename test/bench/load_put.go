package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

// ackPatience is how long a producer waits for what is still in flight at its end.
const ackPatience = 60 * time.Second

// connect opens a connection as an ordinary NATS client does.
func connect(url string) (*nats.Conn, error) {
	return nats.Connect(url, nats.Timeout(5*time.Second), nats.NoReconnect(), nats.SyncQueueLen(1<<20),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, _ error) {})) // shown by what is missing at the end
}

// putSender publishes single messages with a reply subject each and a window of
// messages in flight: what every asynchronous NATS publisher does, with one
// subscription for all replies. It is the same code for our broker and JetStream, and
// lean, since it shares the server's cores: the library's reading goroutine gives the
// acknowledgements to the one that publishes, and the reply subject of what was
// acknowledged is the next message's.
type putSender struct {
	nc      *nats.Conn
	subject func(n uint64) string
	acked   func(int)
	acks    chan *nats.Msg
	late    *time.Timer // stopped, unless it is waited for
	inbox   string
	window  int
	used    int // reply subjects of the window that were used so far
	n       uint64
}

func newPutSender(url string, window int, subject func(n uint64) string, acked func(int)) (*putSender, error) {
	nc, err := connect(url)
	if err != nil {
		return nil, err
	}
	s := &putSender{
		nc: nc, subject: subject, acked: acked, inbox: nats.NewInbox() + ".",
		window: window, acks: make(chan *nats.Msg, window), late: time.NewTimer(ackPatience),
	}
	s.late.Stop()
	_, err = nc.ChanSubscribe(s.inbox+"*", s.acks)
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		nc.Close()
		return nil, err
	}
	return s, nil
}

// acknowledgement is how each begins, our broker's and JetStream's: to look only
// there costs the load program less than to look for an error.
var acknowledgement = []byte(`{"stream":`)

// refusal returns what an acknowledgement refuses, or nil.
func refusal(m *nats.Msg) error {
	if len(m.Data) == 0 {
		return fmt.Errorf("no answer: %s", m.Header.Get("Status"))
	}
	if bytes.Contains(m.Data, []byte(`"error"`)) {
		return fmt.Errorf("refused: %s", m.Data)
	}
	return nil
}

func (s *putSender) send(payload []byte) error {
	reply := ""
	if s.used < s.window {
		reply = s.inbox + strconv.Itoa(s.used)
		s.used++
	} else {
		m, err := s.ack()
		if err != nil {
			return err
		}
		reply = m.Subject
	}
	s.n++
	return s.nc.PublishRequest(s.subject(s.n), reply, payload)
}

// ack returns the next acknowledgement; a refused message is never counted.
func (s *putSender) ack() (*nats.Msg, error) {
	m, err := s.answer()
	switch {
	case err != nil:
		return nil, err
	case !bytes.HasPrefix(m.Data, acknowledgement):
		s.used-- // nothing more comes for it
		return nil, cmp.Or(refusal(m), fmt.Errorf("not an acknowledgement: %s", m.Data))
	}
	s.acked(1)
	return m, nil
}

func (s *putSender) answer() (*nats.Msg, error) {
	select {
	case m := <-s.acks:
		return m, nil
	default:
	}
	s.late.Reset(ackPatience)
	defer s.late.Stop()
	select {
	case m := <-s.acks:
		return m, nil
	case <-s.late.C:
		return nil, fmt.Errorf("no acknowledgement for %v", ackPatience)
	}
}

func (s *putSender) close() error {
	defer s.nc.Close()
	for range s.used {
		if _, err := s.ack(); err != nil {
			return err
		}
	}
	return nil
}

// requestOne makes a function that sends one message and waits for its answer.
func requestOne(nc *nats.Conn, subject string) func([]byte) error {
	return func(payload []byte) error {
		m, err := nc.Request(subject, payload, ackPatience)
		if err != nil {
			return err
		}
		return refusal(m)
	}
}

// share is a connection's part of the row's window, at least 1.
func share(window, connections int) int { return max(1, window/connections) }

// errNone is what a target returns for a load that it has not got.
var errNone = errors.New("this system has no such load")
