package front

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
)

// Who announces much and sends little costs little, and what does come is whole.
func TestMemoryGrowsWithWhatComes(t *testing.T) {
	const size = 8 << 20
	client, socket := net.Pipe()
	defer func() { _ = client.Close() }()
	line := "PUB q.put.t 8388608\r\n"
	in := inbound{c: &conn{front: new(Front), socket: socket}, mem: memoryOf(firstBuffer), buf: []byte(line), to: len(line)}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	type result struct {
		whole []byte
		err   error
	}
	got := make(chan result)
	go func() {
		whole, _, err := in.whole(len(line) + size + len(lineEnd))
		got <- result{whole, err}
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
	if r := <-got; r.err != nil || string(r.whole) != line+string(body)+lineEnd {
		t.Errorf("%d bytes came: %v", len(r.whole), r.err)
	}
}

// What a header block says is kept, not what it is wrapped in.
func TestHeadersThatSayNothingTakeNoMemory(t *testing.T) {
	const requests, size = 640, 60 << 10
	for name, tc := range map[string]struct {
		block string
		want  nats.Header
	}{
		"blanks":      {"NATS/1.0\r\nA:" + strings.Repeat(" ", size-100) + "b\r\n\r\n", nats.Header{"A": {"b"}}},
		"empty names": {"NATS/1.0\r\n" + strings.Repeat(":x\r\n", 200) + "A:b\r\n\r\n", nats.Header{Malformed: nil}},
		"malformed":   {strings.Repeat("x", size-100), nats.Header{Malformed: nil}},
	} {
		t.Run(name, func(t *testing.T) {
			message := fmt.Sprintf("HPUB q.put.t %d %d\r\n%spayload\r\n", len(tc.block), len(tc.block)+len("payload"), tc.block)
			heap := func() uint64 {
				var m runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&m)
				return m.HeapAlloc
			}
			before := heap()
			var kept []*nats.Msg
			announced := 0
			handed(t, &flood{left: &again{text: message, times: requests}}, func(r *Requests) {
				announced += r.Bytes
				for i := range r.All() {
					m := &r.All()[i]
					kept = append(kept, &m.Msg)
				}
			})
			if grown := int64(heap() - before); grown > requests*size/10 {
				t.Errorf("%d requests take %d KiB", len(kept), grown>>10)
			}
			if announced != requests*len(message) {
				t.Errorf("they count %d bytes, %d were sent", announced, requests*len(message))
			}
			for _, m := range kept {
				if d := cmp.Diff(tc.want, m.Header); d != "" || string(m.Data) != "payload" {
					t.Fatal(d, string(m.Data))
				}
			}
			if len(kept) != requests {
				t.Errorf("%d requests came", len(kept))
			}
		})
	}
}

// flood is a socket with as much to read as anybody takes.
type flood struct {
	net.Conn
	left  io.Reader
	reads int
}

func (f *flood) Read(p []byte) (int, error) {
	f.reads++
	return f.left.Read(p)
}

// served is one who has been accepted and sends what is in the socket. It returns the
// number of requests that were handed over.
func served(tb testing.TB, socket net.Conn) (requests int) {
	tb.Helper()
	handed(tb, socket, func(r *Requests) {
		for i := range r.All() {
			m := &r.All()[i]
			m.Memory().Release(1)
			requests++
		}
		r.Done()
	})
	return requests
}

// handed hands what is in the socket over to r.
func handed(tb testing.TB, socket net.Conn, r Receiver) {
	tb.Helper()
	f := &Front{
		opts:   Options{MaxPayload: 1 << 20, Wanted: func(string) bool { return false }},
		prefix: []byte("q."), requests: [][]byte{[]byte("q.put.")},
	}
	f.Take(r)
	server, other := net.Pipe()
	go func() { _, _ = io.Copy(io.Discard, other) }()
	defer func() { _ = server.Close() }()
	c := &conn{front: f, socket: socket, out: newOutbox(1 << 20)}
	c.server.Store(&server)
	c.subs.front = f
	in := inbound{c: c, said: connect{echo: true, headers: true}}
	in.use(memoryOf(firstBuffer))
	defer func() { in.mem.leave() }()
	if err := in.read(); !errors.Is(err, io.EOF) {
		tb.Fatal(err)
	}
}

// Who sends much is read from in large pieces: a put of 128 B cost a third more while
// 4 KiB were read at a time, and one of 1 KiB twice as much.
func TestAFloodIsReadInLargePieces(t *testing.T) {
	const messages = 5000
	message := "PUB q.put.t 1000\r\n" + strings.Repeat("x", 1000) + "\r\n"
	socket := &flood{left: strings.NewReader(strings.Repeat(message, messages))}
	if n := served(t, socket); n != messages {
		t.Fatalf("%d requests of %d came", n, messages)
	}
	if most := messages*len(message)/(fullBuffer-len(message)) + 10; socket.reads > most {
		t.Errorf("%d reads, want at most %d", socket.reads, most)
	}
}

// What a request has is there until it is released, whatever else comes, of this client
// and of others; and memory that was released is used again.
func TestNothingIsReadToWhereARequestLies(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 0))
	var text strings.Builder
	var sent []string
	for i := range 3000 {
		size := []int{rng.IntN(100), rng.IntN(5000), rng.IntN(100_000)}[min(2, rng.IntN(20)/9)]
		body := strings.Repeat(string(rune('a'+i%26)), size)
		if rng.IntN(10) == 0 {
			fmt.Fprintf(&text, "PUB others %d\r\n%s\r\n", size, body) // the server's
			continue
		}
		sent = append(sent, body)
		fmt.Fprintf(&text, "PUB q.put.t %d\r\n%s\r\n", size, body)
	}
	type held struct {
		data []byte
		want string
		from Memory
	}
	var all []held
	came := 0
	check := func(h held) {
		if string(h.data) != h.want {
			t.Fatalf("a request of %d bytes was written over", len(h.want))
		}
		h.from.Release(1)
	}
	socket := &pieces{left: strings.NewReader(text.String()), rng: rng}
	handed(t, socket, func(r *Requests) {
		for i := range r.All() {
			m := &r.All()[i]
			all = append(all, held{m.Data, sent[came], m.Memory()})
			came++
		}
		for len(all) > 20 || len(all) > 0 && rng.IntN(2) == 0 {
			at := rng.IntN(len(all))
			check(all[at])
			all = append(all[:at], all[at+1:]...)
		}
	})
	for _, h := range all {
		check(h)
	}
	if came != len(sent) {
		t.Errorf("%d requests of %d came", came, len(sent))
	}
}

// pieces is a socket from which as much comes as chance has it.
type pieces struct {
	net.Conn
	left io.Reader
	rng  *rand.Rand
}

func (p *pieces) Read(b []byte) (int, error) { return p.left.Read(b[:1+p.rng.IntN(len(b))]) }

// A client that sends little which is kept, between much which is not, does not keep all of
// it in memory.
func TestRequestsDoNotPinWhatLiesBesideThem(t *testing.T) {
	const requests = 3000
	message := "PUB q.put.t 4\r\nkept\r\n" + strings.Repeat("PUB others 4000\r\n"+strings.Repeat("x", 4000)+"\r\n", 15)
	var kept []*Request
	handed(t, &flood{left: &again{text: message, times: requests}}, func(r *Requests) {
		for i := range r.All() {
			m := &r.All()[i]
			kept = append(kept, m)
		}
	})
	if n := pinnedBytes.Load(); n > mostPinned+fullBuffer || n < mostPinned {
		t.Errorf("%d requests pin %d MiB", len(kept), n>>20)
	}
	for _, m := range kept {
		if string(m.Data) != "kept" {
			t.Fatalf("%q came", m.Data)
		}
		if memory := m.Memory(); memory != nil {
			memory.Release(1)
		}
	}
	if n := pinnedBytes.Load(); len(kept) != requests || n != 0 {
		t.Errorf("when all of %d were released, %d bytes are pinned", len(kept), n)
	}
}

// Memory of each size is at most a quarter larger than what was asked for, and has a pool
// of its own.
func TestSizesOfMemory(t *testing.T) {
	sizes := map[int]int{}
	for n := 1; n <= mostMemory; n += 1 + n/50 {
		size, pool := sizeOfMemory(n)
		if again, _ := sizeOfMemory(size); size < n || n >= 64 && size > n+n/4 || again != size {
			t.Fatalf("%d bytes for %d, and %d for these", size, n, again)
		}
		if before, known := sizes[pool]; known && before != size || pool < 0 || pool >= len(memories) {
			t.Fatalf("pool %d has %d bytes and %d", pool, before, size)
		}
		sizes[pool] = size
	}
}

// BenchmarkInbound is what a request costs until it is handed over; its bytes come from
// memory.
func BenchmarkInbound(b *testing.B) {
	for _, size := range []int{128, 1024} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			const round = 1000
			inbox := "_INBOX." + strings.Repeat("x", 22) + "."
			message := fmt.Sprintf("PUB q.put.t %s123 %d\r\n%s\r\n", inbox, size, strings.Repeat("x", size))
			many := strings.Repeat(message, round)
			b.SetBytes(int64(len(message)))
			b.ReportAllocs()
			subscribe := strings.NewReader("SUB " + inbox + "* 1\r\n")
			left := &again{text: many, times: (b.N + round - 1) / round}
			b.ResetTimer()
			served(b, &flood{left: io.MultiReader(subscribe, left)})
		})
	}
}

// again gives a text some times.
type again struct {
	text  string
	at    int
	times int
}

func (a *again) Read(p []byte) (int, error) {
	if a.times == 0 {
		return 0, io.EOF
	}
	n := copy(p, a.text[a.at:])
	if a.at += n; a.at == len(a.text) {
		a.at, a.times = 0, a.times-1
	}
	return n, nil
}

// A client without a connection to the server is asked by the front whether it is there.
func TestParkedClientsAreAskedWhetherTheyAreThere(t *testing.T) {
	c := &conn{out: newOutbox(1 << 20)}
	c.greeted.Store(true)
	linked := &conn{out: newOutbox(1 << 20)}
	linked.greeted.Store(true)
	linked.server.Store(new(net.Conn))
	f := &Front{conns: map[uint64]*conn{1: c, 2: linked, 3: {out: newOutbox(1 << 20)}}}
	for _, want := range []string{"PING\r\n", "PING\r\n", "answers", "PING\r\n", "PING\r\n", "-ERR 'Stale Connection'\r\n"} {
		if want == "answers" {
			c.parked.pings.Store(0)
			continue
		}
		f.askParked()
		if got := c.out.sent(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := linked.out.sent() + f.conns[3].out.sent(); got != "" || !c.out.ending {
		t.Errorf("others heard %q; it stays: %v", got, !c.out.ending)
	}
}
