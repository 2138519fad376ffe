package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"metaq/protocol"
)

// TestAskTakesAnswersUntilThereAreNoMore over a real connection.
func TestAskTakesAnswersUntilThereAreNoMore(t *testing.T) {
	s := startServer(t, newFakeBroker())
	nc, err := nats.Connect(s.url())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	l := newNATSLink(nc)
	defer l.close()
	_, err = s.conn.Subscribe("many", func(m *nats.Msg) {
		for i := range 5 {
			_ = m.Respond(fmt.Append(nil, i)) // the test sees what is missing
		}
	})
	if err == nil {
		err = s.conn.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	take := func(last string) takeAnswer {
		return func(answer []byte) (bool, error) {
			got = append(got, string(answer))
			return string(answer) != last, nil
		}
	}
	if err := l.ask(t.Context(), "many", nil, 10*time.Second, take("3")); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"0", "1", "2", "3"}, got); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	if err := l.ask(t.Context(), "many", nil, 50*time.Millisecond, take("never")); !errors.Is(err, errNoAnswer) {
		t.Errorf("when the last answer is missing: %v", err)
	}
	wrong := errors.New("wrong")
	if err := l.ask(t.Context(), "many", nil, 10*time.Second, func([]byte) (bool, error) { return true, wrong }); !errors.Is(err, wrong) {
		t.Errorf("when take fails: %v", err)
	}
	if err := l.ask(t.Context(), "nobody", nil, 10*time.Second, take("")); !errors.Is(err, ErrNoBroker) {
		t.Errorf("without responders: %v", err)
	}
	s.stop()
	if err := l.ask(t.Context(), "many", nil, 10*time.Second, take("")); err == nil || !strings.Contains(err.Error(), "many") {
		t.Errorf("without a server: %v", err)
	}
}

// forgetful is a link that loses the second of three answers to the first get.
type forgetful struct {
	*fakeLink
	done bool
}

func (l *forgetful) ask(ctx context.Context, subject string, data []byte, wait time.Duration, take takeAnswer) error {
	if l.done {
		return l.fakeLink.ask(ctx, subject, data, wait, take)
	}
	l.done = true
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for _, offset := range []Offset{0, 6} {
		get, err := json.Marshal(protocol.GetRequest{Offset: &offset, MaxBytes: 1, Format: protocol.FormatBatch})
		if err != nil {
			return err
		}
		answer, err := l.request(ctx, subject, get)
		if err != nil {
			return err
		}
		head, batches, err := protocol.ParseFetch(answer)
		if err != nil {
			return err
		}
		head.More = true
		if _, err := take(append(protocol.AppendFetchHeader(nil, head), batches...)); err != nil {
			return err
		}
	}
	return errors.New("an answer was taken that does not continue the one before")
}

func TestReaderAsksAgainForAnAnswerThatGotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFakeBroker()
		b.create("orders", 1)
		for i := range 3 {
			fill(t, b, "orders", 0, i*3, i*3+3)
		}
		r := mustReader(t, fakeClient(t, &forgetful{fakeLink: newFakeLink(b)}), "orders", StartAt(AtOffset(0)))
		defer r.Close()
		if diff := cmp.Diff(numbered(9), read(t, r, 9)); diff != "" {
			t.Errorf("read (-want +got):\n%s", diff)
		}
	})
}
