package front

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// What clients hold back of large messages pins a bounded amount of memory: those that do not
// send the rest are cut off once another message needs the room, and that one is served.
func TestMessagesHeldBackAreBounded(t *testing.T) {
	for _, subject := range []string{"q.put.t", "talk"} {
		t.Run(subject, func(t *testing.T) {
			const size, most, holders = 1 << 20, 7 << 19, 12
			counted := int64(0) // the most that was
			f := &Front{
				opts:   Options{MaxPayload: size, Wanted: func(string) bool { return false }},
				log:    slog.New(slog.DiscardHandler),
				prefix: []byte("q."), requests: [][]byte{[]byte("q.put.")},
			}
			f.teller.log = f.log
			defer f.teller.close()
			f.unfinished.init(most)
			f.Take(func(r *Requests) {
				for i := range r.All() {
					if m := r.All()[i].Memory(); m != nil {
						m.Release(1)
					}
				}
				r.Done()
			})
			line := fmt.Sprintf("PUB %s %d\r\n", subject, size)
			body := bytes.Repeat([]byte("a"), size)
			ended := make(chan error, holders+1)
			begin := func() net.Conn {
				client, socket := net.Pipe()
				server, other := net.Pipe()
				go func() { _, _ = io.Copy(io.Discard, other) }()
				c := &conn{front: f, socket: socket, out: newOutbox(1 << 20)}
				c.server.Store(&server)
				c.subs.front = f
				in := inbound{c: c, said: connect{echo: true, headers: true}}
				in.use(memoryOf(firstBuffer))
				go func() {
					err := in.read()
					in.mem.leave()
					c.close()
					ended <- err
				}()
				return client
			}
			for i := range holders {
				client := begin()
				defer func() { _ = client.Close() }()
				if _, err := client.Write([]byte(line)); err != nil {
					t.Fatal(err)
				}
				if i < most/size { // there is room for these, and not for another one
					if _, err := client.Write(body[1:]); err != nil {
						t.Fatal(err)
					}
					continue
				}
				go func() { _, _ = client.Write(body[1:]) }() // it waits for room, and may be cut off
			}
			honest := begin()
			defer func() { _ = honest.Close() }()
			for _, b := range [][]byte{[]byte(line), body, []byte(lineEnd + "PING\r\n")} {
				if _, err := honest.Write(b); err != nil {
					t.Fatalf("a client that sends all of its message is cut off: %v", err)
				}
				counted = max(counted, f.Unfinished())
			}
			if counted > most+2*size {
				t.Errorf("%d bytes are held of messages that are not whole, the bound is %d", counted, most)
			}
			if f.cutOff.Load() == 0 {
				t.Error("nobody was cut off")
			}
			_ = honest.Close()
			if err := <-ended; err == nil {
				t.Error("a connection ended without a reason")
			}
		})
	}
}

// The time that a message waits for room is not its client's: a crowd of honest clients takes
// its turns, however long that takes.
func TestWhoWaitsForRoomIsNotCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var u unfinished
		u.init(100)
		cut := func() { t.Error("an honest client is cut off") }
		done := make(chan bool)
		const clients = 20
		for range clients {
			go func() {
				m := u.begin(cut)
				defer m.end()
				ok := m.growTo(60)
				<-time.After(unfinishedPatience * 3 / 4)
				done <- ok
			}()
		}
		for range clients {
			if !<-done {
				t.Error("a message is refused")
			}
		}
	})
}

// A message that began first needs no room: one that is larger than the limit comes to its end.
func TestTheFirstMessageNeedsNoRoom(t *testing.T) {
	var u unfinished
	u.init(100)
	m := u.begin(func() { t.Error("cut off") })
	defer m.end()
	if !m.growTo(1000) || !m.growTo(2000) {
		t.Error("refused")
	}
}
