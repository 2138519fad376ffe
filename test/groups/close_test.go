package groups

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"metaq/client"
)

// A handler that closes its own consumer gets an answer by its deadline, which says what
// is waited for, and the consumer ends once the handler has returned.
func TestCloseReturnsByItsDeadlineFromAHandler(t *testing.T) {
	c := connect(t, newWorld(t).url)
	produce(t, c, 0, 1)
	made, closed := make(chan *client.Consumer, 1), make(chan error, 1)
	con := consume(t, c, func(ctx context.Context, r client.Record) error {
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), 200*time.Millisecond)
		defer cancel()
		closed <- (<-made).Close(bounded)
		if ctx.Err() == nil {
			t.Error("the handler's context has not ended")
		}
		return nil
	})
	made <- con
	err := <-closed
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "[orders ") {
		t.Errorf("Close returned %v", err)
	}
	select {
	case <-con.Done():
	case <-t.Context().Done():
		t.Fatal("the consumer has not ended")
	}
	if n := lag(t, c); n != 0 {
		t.Errorf("%d records are not committed, whose handlers returned nil", n)
	}
}
