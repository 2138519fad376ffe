package front

import (
	"net"
	"testing"
)

// A client that is cut off takes a moment to go, since its socket is still being written to.
// No other client is cut off for what it had.
func TestNobodyIsCutOffForAClientThatIsGoing(t *testing.T) {
	f := &Front{opts: Options{MaxOutbound: 8 << 20}, conns: map[uint64]*conn{}}
	owe := func(c *conn, size int) {
		c.out.answer("1", "i.1", make([]byte, size), nil)
		f.relieve()
	}
	join := func(id uint64) *conn {
		socket, peer := net.Pipe()
		t.Cleanup(func() { _ = peer.Close() })
		c := &conn{front: f, id: id, socket: socket, out: newOutbox(64 << 20)}
		c.out.total = &f.outbound
		f.conns[id] = c
		return c
	}
	large, small := join(1), join(2)
	owe(small, 1<<20)
	owe(large, 5<<20)
	var writing queue
	large.out.take(&writing) // its writer has it, and waits for the socket
	owe(large, 2<<20)
	if !large.out.over.Load() || small.out.over.Load() {
		t.Fatalf("cut off: the larger %v, the smaller %v", large.out.over.Load(), small.out.over.Load())
	}
	owe(small, 1<<20)
	if small.out.over.Load() {
		t.Error("the smaller one is cut off for what the other one had")
	}
	writing.drop()
	large.out.written()
	if n := f.Outbound(); n < 2<<20 || n > 2<<20+1<<10 {
		t.Errorf("%d bytes are counted for the smaller one, which is owed 2 MiB", n)
	}
}
