package front

import (
	"bytes"
	"net"
	"runtime"
	"testing"
)

// Who announces much and sends little costs little, and what does come is whole.
func TestMemoryGrowsWithWhatComes(t *testing.T) {
	const size = 8 << 20
	client, socket := net.Pipe()
	defer func() { _ = client.Close() }()
	line := "PUB q.put.t 8388608\r\n"
	in := inbound{c: &conn{socket: socket}, buf: []byte(line), to: len(line)}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	type result struct {
		whole, data []byte
		err         error
	}
	got := make(chan result)
	go func() {
		whole, data, err := in.payload(len(line), size)
		got <- result{whole, data, err}
	}()
	body := bytes.Repeat([]byte("abcdefgh"), size/8)
	if _, err := client.Write(body[:1]); err != nil { // returns when it was read
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc - size; int64(n) > 1<<20 {
		t.Errorf("%d bytes for a payload of which one has come", n)
	}
	if _, err := client.Write(append(body[1:], lineEnd...)); err != nil {
		t.Fatal(err)
	}
	if r := <-got; r.err != nil || !bytes.Equal(r.data, body) || string(r.whole) != line+string(body)+lineEnd {
		t.Errorf("%d bytes came, %d of them payload: %v", len(r.whole), len(r.data), r.err)
	}
}
