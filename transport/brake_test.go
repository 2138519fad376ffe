package transport

import (
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// stuckConn is a socket whose reads wait until it is released.
type stuckConn struct {
	net.Conn
	stuck    *atomic.Bool
	released chan struct{}
}

func (c stuckConn) Read(p []byte) (int, error) {
	if c.stuck.Load() {
		<-c.released
	}
	return c.Conn.Read(p)
}

// TestTheBrakeHoldsPublishers: a gateway that reads nothing for a while gets more
// than the server would keep for it. The publishers are held, nothing is dropped,
// and the gateway is not cut off. It fails when the server does not say any more
// what the brake listens for.
func TestTheBrakeHoldsPublishers(t *testing.T) {
	const publishers, each, size = 3, 1024, 64 << 10 // each of them more than the server keeps
	s := startServer(t)
	var stuck atomic.Bool
	released := make(chan struct{})
	gateway, err := s.Connect(func(c net.Conn) net.Conn { return stuckConn{c, &stuck, released} })
	if err != nil {
		t.Fatal(err)
	}
	defer gateway.Close()
	var got atomic.Int64
	sub, err := gateway.Subscribe("x", func(*nats.Msg) { got.Add(1) })
	if err != nil {
		t.Fatal(err)
	}
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		t.Fatal(err)
	}
	if err := gateway.Flush(); err != nil {
		t.Fatal(err)
	}
	stuck.Store(true)
	var publishing sync.WaitGroup
	for range publishers {
		publishing.Go(func() {
			nc, err := nats.Connect("nats://" + s.Addr().String())
			if err != nil {
				t.Error(err)
				return
			}
			defer nc.Close()
			for range each {
				if err := nc.Publish("x", make([]byte, size)); err != nil {
					t.Error(err)
					return
				}
			}
			if err := nc.FlushTimeout(patience); err != nil {
				t.Error(err)
			}
		})
	}
	eventually(t, "all publishers are held", func() bool { return s.brake.waiting.Load() == publishers })
	if got := s.brake.behind(); got <= s.brake.goOn || got > maxPending {
		t.Errorf("%d bytes wait for the gateway", got)
	}
	stuck.Store(false)
	close(released)
	publishing.Wait()
	eventually(t, "everything came", func() bool { return got.Load() == publishers*each })
	if n := gateway.Stats().Reconnects; n != 0 {
		t.Errorf("the gateway was cut off %d times", n)
	}
}

// A held publisher goes when the server stops.
func TestTheBrakeLetsGoAtTheEnd(t *testing.T) {
	b := newBrake(maxPending, newConnections(), nil, slog.New(slog.DiscardHandler))
	b.lag = func() int { return maxPending }
	done := make(chan struct{})
	go func() { b.debug("client" + stallEnds); close(done) }()
	eventually(t, "it is held", func() bool { return b.waiting.Load() == 1 })
	close(b.stop)
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("it is still held")
	}
}

// Neither our own connections nor other lines of the server are held.
func TestTheBrakeHoldsNobodyElse(t *testing.T) {
	s := startServer(t)
	gateway, err := s.Connect(func(c net.Conn) net.Conn { return c })
	if err != nil {
		t.Fatal(err)
	}
	defer gateway.Close()
	id, err := gateway.GetClientID()
	if err != nil {
		t.Fatal(err)
	}
	s.brake.lag = func() int { return maxPending }
	s.brake.debug(fmt.Sprintf("pipe - cid:%d - v1.55:go", id) + stallEnds)
	s.brake.debug("pipe - cid:77 - Client connection closed: %s")
}
