package transport

import (
	"net"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
)

// gated returns a socket behind a gate, and a function that makes it read n bytes.
func gated(t *testing.T, g *gate) (read func(n int)) {
	t.Helper()
	ours, theirs := net.Pipe()
	conn := g.wrap(ours)
	t.Cleanup(func() { _ = ours.Close() })
	return func(n int) {
		t.Helper()
		sent := make(chan error, 1)
		go func() { _, err := theirs.Write(make([]byte, n)); sent <- err }()
		if got, err := conn.Read(make([]byte, n)); err != nil || got != n {
			t.Fatalf("read %d bytes of %d: %v", got, n, err)
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
	}
}

// newTestGate returns a gate of 100 bytes and 3 messages, and the subjects that
// it refuses.
func newTestGate() (*gate, *[]string) {
	refused := &[]string{}
	g := newGate(make(chan *nats.Msg, inOneRead+3), func(m *nats.Msg) { *refused = append(*refused, m.Subject) })
	g.bytes = 100
	return g, refused
}

func TestTheGateRefusesTheOldestBeyondItsBytes(t *testing.T) {
	g, refused := newTestGate()
	read := gated(t, g)
	size := (&nats.Msg{Subject: "a", Data: make([]byte, 25)}).Size() + overhead // 50
	for _, subject := range []string{"a", "b", "c"} {
		read(size)
		g.incoming <- &nats.Msg{Subject: subject, Data: make([]byte, 25)}
	}
	read(1)
	if d := cmp.Diff([]string{"a"}, *refused); d != "" || len(g.incoming) != 2 {
		t.Errorf("refused: %s", d)
	}
	g.looked(<-g.incoming)
	read(1)
	if len(*refused) != 1 {
		t.Errorf("with room again it refused %v", *refused)
	}
}

func TestTheGateCountsMessages(t *testing.T) {
	g, refused := newTestGate()
	read := gated(t, g)
	for _, subject := range []string{"a", "b", "c", "d", "e"} {
		g.incoming <- &nats.Msg{Subject: subject}
	}
	read(1)
	if d := cmp.Diff([]string{"a", "b"}, *refused); d != "" {
		t.Errorf("refused: %s", d)
	}
}

func TestTheGateForgetsWhatIsForOthers(t *testing.T) {
	g, refused := newTestGate()
	read := gated(t, g)
	for range 10 {
		read(90) // other subscriptions' messages
	}
	g.incoming <- &nats.Msg{Subject: "a"}
	read(1)
	if len(*refused) != 0 {
		t.Errorf("refused %v", *refused)
	}
}
