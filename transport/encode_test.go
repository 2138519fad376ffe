package transport

import (
	"strings"
	"testing"
	"time"

	"metaq/actors"
	"metaq/protocol"
)

// heldResult is a get in JSON of size bytes whose encoding ends when hold is closed.
func heldResult(t testing.TB, size int, hold <-chan struct{}) *actors.GetResult {
	r := getResult(t, protocol.FormatJSON)
	r.Batches, r.From = batchOf(t, 4, strings.Repeat("x", size)), 4
	r.Release = func() { <-hold }
	return r
}

func TestALargeAnswerDoesNotHoldThePartitionsReader(t *testing.T) {
	r := newRig(t, nil)
	hold, answered := make(chan struct{}), make(chan struct{})
	go func() {
		for range maxEncoders {
			r.answer("_INBOX.large", heldResult(t, 100<<10, hold))
		}
		close(answered)
	}()
	select {
	case <-answered:
	case <-time.After(patience):
		t.Error("the reader waits for the encoding of a large answer")
	}
	// There is no room for another one: the reader encodes it, which holds up what comes next.
	overflow := make(chan struct{})
	go func() {
		r.answer("_INBOX.large", heldResult(t, 100<<10, hold))
		close(overflow)
	}()
	close(hold)
	<-overflow
}

func TestASmallAnswerIsEncodedAtOnce(t *testing.T) {
	r := newRig(t, nil)
	released := false
	small := getResult(t, protocol.FormatJSON)
	small.Release = func() { released = true }
	r.answer("_INBOX.small", small)
	if !released {
		t.Error("a small answer waits for a goroutine")
	}
}
