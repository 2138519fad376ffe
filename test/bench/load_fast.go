package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
)

// clientFast is JetStream's fast batch publishing. nats.go has no call for it, so
// this speaks it as the server's stream.go describes: every message of one endless
// batch has the reply subject PREFIX.ID.FLOW.fail.SEQUENCE.OPERATION.$FI, and the
// server acknowledges all up to a sequence every FLOW messages at most.
const clientFast = "fast"

const (
	fastFlow   = 500      // the most that the server allows
	fastWindow = 40_000   // messages in flight; the server's queue takes 100,000
	fastMode   = ".fail." // a lost message ends the batch

	fastStart  = ".0.$FI" // the batch's first message
	fastAppend = ".1.$FI" // one more message
	fastCommit = ".3.$FI" // the end of the batch; stores no message
)

type fastSender struct {
	nc      *nats.Conn
	subject string
	prefix  string
	sent    uint64
	stored  atomic.Uint64
	room    chan struct{}
	failed  chan error
	reply   []byte
}

func newFastSender(url, subject string, acked func(int)) (*fastSender, error) {
	nc, err := connect(url)
	if err != nil {
		return nil, err
	}
	inbox := nats.NewInbox()
	s := &fastSender{
		nc: nc, subject: subject, room: make(chan struct{}, 1), failed: make(chan error, 1),
		prefix: inbox + "." + nuid.Next() + "." + strconv.Itoa(fastFlow) + fastMode,
	}
	err = subscribe(nc, inbox+".>", func(m *nats.Msg) {
		n, err := fastAnswer(m)
		if err != nil {
			select {
			case s.failed <- err:
			default:
			}
		}
		if before := s.stored.Load(); n > before {
			s.stored.Store(n)
			acked(int(n - before))
		}
		select {
		case s.room <- struct{}{}:
		default:
		}
	})
	if err != nil {
		nc.Close()
		return nil, err
	}
	return s, nil
}

// fastAnswer returns the sequence in the batch up to which all is stored.
func fastAnswer(m *nats.Msg) (uint64, error) {
	if err := refusal(m); err != nil {
		return 0, err
	}
	var a struct {
		Type     string `json:"type"`
		Sequence uint64 `json:"seq"`
		Count    uint64 `json:"count"`
	}
	if err := json.Unmarshal(m.Data, &a); err != nil {
		return 0, err
	}
	switch {
	case a.Type == "ack":
		return a.Sequence, nil
	case a.Type == "" && a.Count > 0:
		return a.Count, nil
	}
	return 0, fmt.Errorf("the batch failed: %s", m.Data)
}

func (s *fastSender) send(payload []byte) error {
	if err := s.wait(fastWindow); err != nil {
		return err
	}
	op := fastAppend
	if s.sent == 0 {
		op = fastStart
	}
	s.sent++
	return s.publish(s.sent, op, payload)
}

func (s *fastSender) publish(n uint64, op string, payload []byte) error {
	s.reply = append(s.reply[:0], s.prefix...)
	s.reply = strconv.AppendUint(s.reply, n, 10)
	s.reply = append(s.reply, op...)
	return s.nc.PublishRequest(s.subject, string(s.reply), payload)
}

// wait returns when fewer than most messages are in flight.
func (s *fastSender) wait(most uint64) error {
	for s.sent-s.stored.Load() >= most {
		select {
		case <-s.room:
		case err := <-s.failed:
			return err
		case <-time.After(ackPatience):
			return fmt.Errorf("no acknowledgement for %v", ackPatience)
		}
	}
	return nil
}

func (s *fastSender) close() error {
	defer s.nc.Close()
	if s.sent == 0 {
		return nil
	}
	if err := s.publish(s.sent+1, fastCommit, nil); err != nil {
		return err
	}
	return s.wait(1)
}
