package client

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
)

// TestPostsAreSentInOrderAndAnsweredOnce also when nobody listens, when time is
// over and when the server stops.
func TestPostsAreSentInOrderAndAnsweredOnce(t *testing.T) {
	s := startServer(t, newFakeBroker())
	nc, err := nats.Connect(s.url(), nats.MaxReconnects(0))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	l := newNATSLink(nc)
	defer l.close()

	const n = 100
	arrived := make(chan string, n)
	if _, err := s.conn.Subscribe("echo", func(m *nats.Msg) {
		arrived <- string(m.Data)
		_ = m.Respond(m.Data) // the test waits for it
	}); err != nil {
		t.Fatal(err)
	}
	heard := make(chan struct{}, 2)
	if _, err := s.conn.Subscribe("silent", func(*nats.Msg) { heard <- struct{}{} }); err != nil {
		t.Fatal(err)
	}
	if err := s.conn.Flush(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	type answer struct {
		data string
		err  error
	}
	answers := make(chan answer, n+10)
	done := func(data []byte, err error) { answers <- answer{string(data), err} }

	for i := range n {
		l.post(ctx, "echo", fmt.Append(nil, i), done)
	}
	var got, asked []string
	for range n {
		a := <-answers
		if a.err != nil {
			t.Fatal(a.err)
		}
		got = append(got, a.data)
		asked = append(asked, <-arrived)
	}
	if diff := cmp.Diff(numbered(n), asked); diff != "" {
		t.Errorf("arrived (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(numbered(n), got); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}

	l.post(ctx, "nobody", nil, done)
	if a := <-answers; !errors.Is(a.err, ErrNoBroker) {
		t.Errorf("without responders: %v", a.err)
	}
	short, end := context.WithTimeout(ctx, time.Millisecond)
	defer end()
	l.post(short, "silent", nil, done)
	if a := <-answers; !errors.Is(a.err, errNoAnswer) {
		t.Errorf("without an answer: %v", a.err)
	}
	<-heard
	l.post(ctx, "silent", nil, done)
	<-heard
	s.stop()
	if a := <-answers; !errors.Is(a.err, errConnLost) && !errors.Is(a.err, ErrClosed) {
		t.Errorf("when the server stops: %v", a.err)
	}
	l.post(ctx, "silent", nil, done)
	if a := <-answers; a.err == nil {
		t.Error("without a server there was an answer")
	}
	if len(answers) > 0 {
		t.Errorf("%d more answers came", len(answers))
	}
}
