package zookeeper

import (
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"metaq/cluster/registry"
)

// zkRequest is a request without a body.
func zkRequest(number byte, operation int32) []byte {
	b := []byte{0, 0, 0, 8, 0, 0, 0, number}
	return binary.BigEndian.AppendUint32(b, uint32(operation))
}

const zkRead = 4 // any that is not special

func TestRequestsWaitForTheWatchesOfAResumedSession(t *testing.T) {
	for name, c := range map[string]struct {
		pending    bool
		said, sent string // number and operation of each
	}{
		"nothing to watch":    {false, "1r 2r", "1r 2r"},
		"watches first":       {true, "1w 2r", "1w 2r"},
		"requests before":     {true, "1r 2r 3w 4r", "3w 1r 2r 4r"},
		"several watches":     {true, "1r 2w 3r 4w", "2w 1r 3r 4w"},
		"credentials go":      {true, "1a 2r 3a 4w", "1a 3a 4w 2r"},
		"a ping goes":         {true, "1r 2p 3w", "2p 3w 1r"},
		"closed before":       {true, "1r 2c", "1r 2c"},
		"closed at once":      {true, "1c", "1c"},
		"closed with watches": {true, "1r 2w 3c", "2w 1r 3c"},
	} {
		operations := map[byte]int32{'r': zkRead, 'w': zkSetWatches, 'a': zkAuth, 'p': zkPing, 'c': zkClose}
		encode := func(script string) (all [][]byte) {
			for i := 0; i < len(script); i += 3 {
				all = append(all, zkRequest(script[i], operations[script[i+1]]))
			}
			return all
		}
		join := func(all [][]byte) (joined []byte) {
			for _, b := range all {
				joined = append(joined, b...)
			}
			return joined
		}
		r := resumption{pending: c.pending}
		var sent []byte
		for _, request := range encode(c.said) {
			sent = append(sent, r.order(request)...)
		}
		if string(sent) != string(join(encode(c.sent))) {
			t.Errorf("%s: sent %q", name, sent)
		}
	}
}

// What the library writes before its watches reaches a server after them.
func TestAResumedConnectionBeginsWithItsWatches(t *testing.T) {
	ours, theirs := net.Pipe()
	s := &zkSession{
		ZooKeeper: &ZooKeeper{}, id: 7, granted: 30 * time.Second,
		armed: map[registry.Change]bool{{Kind: registry.WatchData, Path: "/a"}: true},
	}
	c := &guardedConn{Conn: ours, session: s, handshake: time.Now().Add(time.Minute)}
	greeting := []byte{0, 0, 0, minHello, 0, 0, 0, 0, 0, 0, 0x75, 0x30, 0, 0, 0, 0, 0, 0, 0, 7}
	heard := make(chan []byte)
	go func() {
		defer close(heard)
		take := func(n int) []byte { b := make([]byte, n); _, _ = io.ReadFull(theirs, b); return b }
		take(16)
		_, _ = theirs.Write(greeting)
		heard <- take(24)
	}()
	write := func(b []byte) {
		t.Helper()
		if n, err := c.Write(b); err != nil || n != len(b) {
			t.Fatalf("wrote %d of %d: %v", n, len(b), err)
		}
	}
	write(make([]byte, 16))
	if _, err := io.ReadFull(c, make([]byte, len(greeting))); err != nil {
		t.Fatal(err)
	}
	write(zkRequest(1, zkRead))
	write(zkRequest(2, zkSetWatches))
	if got, want := <-heard, append(zkRequest(2, zkSetWatches), zkRequest(1, zkRead)...); string(got) != string(want) {
		t.Errorf("sent %q", got)
	}
	<-heard
	_, _ = ours.Close(), theirs.Close()
}
