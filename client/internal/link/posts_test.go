package link

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
	s := startNATS(t)
	nc, err := nats.Connect(s.server.ClientURL(), nats.MaxReconnects(0))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	l := NewNATS(nc)
	defer l.Close()

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
		l.Post(ctx, "echo", fmt.Append(nil, i), done)
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
	if diff := cmp.Diff(numberedAnswers(n), asked); diff != "" {
		t.Errorf("arrived (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(numberedAnswers(n), got); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}

	l.Post(ctx, "nobody", nil, done)
	if a := <-answers; !errors.Is(a.err, ErrNoBroker) {
		t.Errorf("without responders: %v", a.err)
	}
	short, end := context.WithTimeout(ctx, time.Millisecond)
	defer end()
	l.Post(short, "silent", nil, done)
	if a := <-answers; !errors.Is(a.err, ErrNoAnswer) {
		t.Errorf("without an answer: %v", a.err)
	}
	<-heard
	l.Post(ctx, "silent", nil, done)
	<-heard
	s.Stop()
	if a := <-answers; !errors.Is(a.err, ErrConnLost) && !errors.Is(a.err, ErrClosed) {
		t.Errorf("when the server stops: %v", a.err)
	}
	l.Post(ctx, "silent", nil, done)
	if a := <-answers; a.err == nil {
		t.Error("without a server there was an answer")
	}
	if len(answers) > 0 {
		t.Errorf("%d more answers came", len(answers))
	}
}
