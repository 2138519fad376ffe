package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
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
// subscription for all replies. It is the same code for our broker and JetStream.
type putSender struct {
	nc      *nats.Conn
	subject func(n uint64) string
	slots   chan int // reply subjects that are free
	replies []string
	failed  chan error // the first refusal
	n       uint64
}

func newPutSender(url string, window int, subject func(n uint64) string, acked func(int)) (*putSender, error) {
	nc, err := connect(url)
	if err != nil {
		return nil, err
	}
	s := &putSender{nc: nc, subject: subject, slots: make(chan int, window), failed: make(chan error, 1)}
	inbox := nats.NewInbox()
	for i := range window {
		s.slots <- i
		s.replies = append(s.replies, inbox+"."+strconv.Itoa(i))
	}
	sub, err := nc.Subscribe(inbox+".*", func(m *nats.Msg) {
		if !bytes.HasPrefix(m.Data, acknowledgement) {
			err := cmp.Or(refusal(m), fmt.Errorf("not an acknowledgement: %s", m.Data))
			select {
			case s.failed <- err:
			default:
			}
			return // its slot stays taken: a refused message is never counted
		}
		slot, err := strconv.Atoi(m.Subject[strings.LastIndexByte(m.Subject, '.')+1:])
		if err == nil {
			acked(1)
			s.slots <- slot
		}
	})
	if err == nil {
		err = sub.SetPendingLimits(-1, -1)
	}
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
	slot, err := s.slot()
	if err != nil {
		return err
	}
	s.n++
	return s.nc.PublishRequest(s.subject(s.n), s.replies[slot], payload)
}

func (s *putSender) slot() (int, error) {
	select {
	case slot := <-s.slots:
		return slot, nil
	default:
	}
	late := time.NewTimer(ackPatience)
	defer late.Stop()
	select {
	case slot := <-s.slots:
		return slot, nil
	case err := <-s.failed:
		return 0, err
	case <-late.C:
		return 0, fmt.Errorf("no acknowledgement for %v", ackPatience)
	}
}

func (s *putSender) close() error {
	defer s.nc.Close()
	for range s.replies {
		if _, err := s.slot(); err != nil {
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
