package link

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
)

// TestAskTakesAnswersUntilThereAreNoMore over a real connection.
func TestAskTakesAnswersUntilThereAreNoMore(t *testing.T) {
	s := startNATS(t)
	nc, err := nats.Connect(s.server.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	l := NewNATS(nc)
	defer l.Close()
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
	take := func(last string) TakeAnswer {
		return func(answer []byte) (bool, error) {
			got = append(got, string(answer))
			return string(answer) != last, nil
		}
	}
	if err := l.Ask(t.Context(), "many", nil, 10*time.Second, take("3")); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"0", "1", "2", "3"}, got); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	if err := l.Ask(t.Context(), "many", nil, 50*time.Millisecond, take("never")); !errors.Is(err, ErrNoAnswer) {
		t.Errorf("when the last answer is missing: %v", err)
	}
	wrong := errors.New("wrong")
	if err := l.Ask(t.Context(), "many", nil, 10*time.Second, func([]byte) (bool, error) { return true, wrong }); !errors.Is(err, wrong) {
		t.Errorf("when take fails: %v", err)
	}
	if err := l.Ask(t.Context(), "nobody", nil, 10*time.Second, take("")); !errors.Is(err, ErrNoBroker) {
		t.Errorf("without responders: %v", err)
	}
	s.Stop()
	if err := l.Ask(t.Context(), "many", nil, 10*time.Second, take("")); err == nil || !strings.Contains(err.Error(), "many") {
		t.Errorf("without a server: %v", err)
	}
}
