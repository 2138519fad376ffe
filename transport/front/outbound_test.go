package front

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
)

// sent takes all that waits, as the writer does.
func (o *outbox) sent() string {
	var now queue
	o.take(&now)
	var text bytes.Buffer
	for _, p := range now.parts {
		text.Write(p.b)
	}
	now.drop()
	o.written()
	return text.String()
}

// Answers wait for the rest of a message from the server. Where they are many, that message
// does not wait for them in turn.
func TestTheRestOfAMessageDoesNotWaitForAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox(64 << 20)
		o.relay([]byte("MSG a 1 10\r\n01234"))
		want := "MSG a 1 10\r\n0123456789\r\n"
		body := strings.Repeat("x", 100_000)
		for range backlog/len(body) + 1 {
			o.answer("2", "i.1", []byte(body), nil)
			want += fmt.Sprintf("MSG i.1 2 %d\r\n%s\r\n", len(body), body)
		}
		rest := false
		go func() { rest = o.relay([]byte("56789\r\n")) }()
		if synctest.Wait(); !rest {
			t.Error("it waits for ever")
			o.close()
			return
		}
		if got := o.sent(); got != want {
			t.Errorf("%d bytes are sent, not %d", len(got), len(want))
		}
		// What waits in all holds the server nevertheless.
		o.answer("2", "i.1", make([]byte, backlog+1), nil)
		more := false
		go func() { more = o.relay([]byte("PING\r\n")) }()
		if synctest.Wait(); more {
			t.Error("the server is not held")
		}
		o.sent()
		if synctest.Wait(); !more || o.sent() != "PING\r\n" {
			t.Error("it is held for ever")
		}
	})
}

// Lent answers need room for their lines only.
func TestLentAnswersShareBuffers(t *testing.T) {
	const answers = 100
	var q queue
	given := 0
	for i := range answers {
		q.message("1", "i.1", bytes.Repeat([]byte{byte(i)}, lendFrom), func() { given++ })
	}
	buffers := 0
	for _, p := range q.parts {
		if p.last != nil {
			buffers++
		}
	}
	if buffers != 1 {
		t.Errorf("%d buffers for %d lines", buffers, answers)
	}
	var text bytes.Buffer
	for len(q.parts) > 0 { // byte by byte or more, as sockets take it
		b := q.parts[0].b
		n := min(len(b), 1000)
		text.Write(b[:n])
		q.cut(n)
	}
	line := fmt.Sprintf("MSG i.1 1 %d\r\n", lendFrom)
	for i := range answers {
		if want := line + strings.Repeat(string(rune(i)), lendFrom) + lineEnd; i < 128 && string(text.Next(len(want))) != want {
			t.Fatalf("answer %d is another one", i)
		}
	}
	if text.Len() > 0 || q.size != 0 || given != answers {
		t.Errorf("%d bytes are too many, %d are left, %d were given back", text.Len(), q.size, given)
	}
}
