package client

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"metaq/client/internal/clientfake"
	"metaq/client/internal/link"
	"metaq/protocol"
)

// forgetful is a link that loses the second of three answers to the first get.
type forgetful struct {
	*clientfake.Link
	done bool
}

func (l *forgetful) Ask(ctx context.Context, subject string, data []byte, wait time.Duration, take link.TakeAnswer) error {
	if l.done {
		return l.Link.Ask(ctx, subject, data, wait, take)
	}
	l.done = true
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for _, offset := range []Offset{0, 6} {
		get, err := json.Marshal(protocol.GetRequest{Offset: &offset, MaxBytes: 1, Format: protocol.FormatBatch})
		if err != nil {
			return err
		}
		answer, err := l.Request(ctx, subject, get)
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
		b := clientfake.NewBroker()
		b.Create("orders", 1)
		for i := range 3 {
			fill(t, b, "orders", 0, i*3, i*3+3)
		}
		r := mustReader(t, fakeClient(t, &forgetful{Link: clientfake.NewLink(b)}), "orders", StartAt(AtOffset(0)))
		defer r.Close()
		if diff := cmp.Diff(numbered(9), read(t, r, 9)); diff != "" {
			t.Errorf("read (-want +got):\n%s", diff)
		}
	})
}
