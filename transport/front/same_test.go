package front_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
)

// plain is a NATS server without a front, whose gateway answers like that of a stand.
func plain(t *testing.T) (address string, s *stand) {
	t.Helper()
	s = newServed(t, &server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT}, true)
	return s.nats.Addr().String(), s
}

// conversation is what somebody outside can see of one.
type conversation struct {
	requests []string // that the gateway got, in their order
	messages []string // that the client got, sorted
	errs     []string // that the server said
	cutOff   bool
}

// lastWord ends a conversation on both ways: the server's own messages may come
// before or after answers.
const lastWord = "SUB last 999\r\nPUB last 0\r\n\r\nPUB q.put.t i.end 3\r\nend\r\n"

// converse says text to address in pieces, and the last word.
func converse(t *testing.T, address string, s *stand, text string, cut func(rest int) int) (c conversation) {
	t.Helper()
	s.mu.Lock()
	s.straight, s.around = nil, nil
	s.mu.Unlock()
	socket, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = socket.Close() }()
	if err := socket.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(socket)
	if _, err := io.WriteString(socket, "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true}\r\nPING\r\nSUB i.* 1\r\n"); err != nil {
		t.Fatal(err)
	}
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if line == "PONG\r\n" {
			break
		}
	}
	var saying sync.WaitGroup
	saying.Go(func() {
		for rest := text + lastWord; rest != ""; {
			n := cut(len(rest))
			if _, err := io.WriteString(socket, rest[:n]); err != nil {
				return // it was cut off
			}
			rest = rest[n:]
		}
	})
	for last := 0; last < 2 && !c.cutOff; {
		line, err := r.ReadString('\n')
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("no end of it: %q", text)
		}
		switch {
		case err != nil:
			c.cutOff = true
		case strings.HasPrefix(line, "-ERR"):
			c.errs = append(c.errs, line)
		case strings.HasPrefix(line, "MSG "), strings.HasPrefix(line, "HMSG "):
			var size int
			if _, err := fmt.Sscan(line[strings.LastIndexByte(line, ' ')+1:], &size); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			body := make([]byte, size+2)
			if _, err := io.ReadFull(r, body); err != nil {
				t.Fatal(err)
			}
			c.messages = append(c.messages, line+string(body))
			if strings.HasPrefix(line, "MSG i.end ") || strings.HasPrefix(line, "MSG last ") {
				last++
			}
		}
	}
	_ = socket.Close()
	saying.Wait()
	if err := s.own.Publish("q.put.t", []byte("marker")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all that the server has is with the gateway", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.around) > 0 && s.around[len(s.around)-1] == "marker"
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	c.requests = append(slices.Clone(s.straight), s.around[:len(s.around)-1]...)
	slices.Sort(c.messages)
	if c.cutOff { // how much comes before the end is a matter of luck
		c.messages, c.errs = nil, nil
	}
	return c
}

// sayings are what the tests below put together. %d is another number each time.
var sayings = []string{
	"PUB q.put.t i.%[1]d 3\r\na%[1]d\r\n", "pub\tq.put.t \t i.%[1]d  4 \r\nb%[1]d\r\n", "PUB q.put.t 4\r\nc%[1]d\r\n",
	"PUB q.put.t i.%[1]d 0\r\n\r\n", "PUB q.put.t i.%[1]d 4\nd%[1]d\r\n", "HPUB q.put.t i.%[1]d 12 16\r\nNATS/1.0\r\n\r\ne%[1]d\r\n",
	"HPUB q.put.t i.%[1]d 0 4\r\nf%[1]d\r\n", "PING\r\n", "PONG\r\n", "ping\n", "PINGS\r\n", "+OK\r\n",
	"SUB other %[1]d\r\n", "PUB other 4\r\ng%[1]d\r\n", "PUB other 30\r\nPUB q.put.t i.1 1\r\nx\r\nPING\r\n.\r\n", "UNSUB %[1]d\r\n", "UNSUB 9999 1\r\n",
	"PUB q.put.t nobody.%[1]d 4\r\nh%[1]d\r\n", "PUB other 00000004\r\ni%[1]d\r\n",
}

// oddities are mostly against the protocol.
var oddities = []string{
	"", "\r\n", "\n", "\r", " PING\r\n", "NONSENSE\r\n", "PUB\r\n", "PUB", "MSG i.1 1 1\r\na\r\n", "PUBS q.put.t 1\r\na\r\n",
	"PUB q.put.t 1\r\nabc\r\n", "PUB other 1\r\nabc\r\n", "PUB other 1\r\na\n\r", "PUB q.put.t 1\r\na\n", "PUB other 2\r\na\r\n", "PUB q.put.t -1\r\n",
	"PUB q.put.t 0000000001\r\na\r\n", "PUB other 0000000001\r\na\r\n", "PUB other 99999999999999999999\r\na\r\n", "PUB q.put.t 2000000\r\na\r\n",
	"PUB q.put.t i.1 2 1\r\na\r\n", "PUB q.put.t +1\r\na\r\n",
	"PUB other 31\n.\r\nPUB q.put.t i.1 6\r\nabcdef\r\n\r\n",
	"PUB q.put.t." + strings.Repeat("x", 5000) + " 1\r\na\r\n", "PUB other" + strings.Repeat(" ", 5000) + "1\r\na\r\n", "SUB " + strings.Repeat("x", 5000) + " 9\r\n",
	"HPUB q.put.t 2 1\r\na\r\n", "HPUB q.put.t 1\r\na\r\n", "HPUB q.put.t -1 1\r\na\r\n", "CONNECT nonsense\r\n", "CONNECT {\"headers\":false}\r\nHPUB q.put.t 12 12\r\nNATS/1.0\r\n\r\n\r\n",
	"SUB\r\n", "SUB a\r\n", "SUB a b c d\r\n", "UNSUB\r\n", "SUB i..* 77\r\n", "SUB i.>.x 77\r\n", "SUB other 1\r\n",
	"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
}

// Whatever a client says, however it is cut: the gateway, the client and the server
// hear the same as without the front. Above all, what the server takes for a payload
// must not be a request here, nor the reverse.
func TestTheSameConversation(t *testing.T) {
	address, bare := plain(t)
	s := newStand(t, 64<<20)
	for seed := range uint64(400) {
		random := rand.New(rand.NewPCG(seed, 2))
		var text strings.Builder
		say := func() {
			for i := range random.IntN(4) {
				n := 10 + 10*i + random.IntN(10)
				saying := sayings[random.IntN(len(sayings))]
				if strings.Contains(saying, "%") {
					saying = fmt.Sprintf(saying, n)
				}
				text.WriteString(saying)
			}
		}
		say()
		text.WriteString(oddities[int(seed)%len(oddities)])
		say()
		steps := 1 + random.IntN(1<<random.IntN(12))
		cut := func(rest int) int { return min(rest, steps) }
		want := converse(t, address, bare, text.String(), cut)
		got := converse(t, s.front.Addr().String(), s, text.String(), cut)
		if d := cmp.Diff(want, got, cmp.AllowUnexported(conversation{})); d != "" {
			t.Errorf("seed %d, %.300q: without and with the front: %s", seed, text.String(), d)
		}
	}
}

// The server takes a carriage return within a line in one way or another, as the
// bytes are cut. So nobody hears of such a line.
func TestCarriageReturnsWithinLines(t *testing.T) {
	s := newStand(t, 64<<20)
	for _, text := range []string{
		"PUB q.put.t\r1\r\na\r\n",
		"PUB other\r 31\r\na\r\nPUB q.put.t i.1 6\r\nabcdef\r\n",
		"PUB q.put.t 13\r \n..........\r\nabc\r\n",
		"PUB q.put.t i.7\r 4\r\nabcd\r\n",
		"PUB\rq.put.t 1\r\na\r\n",
	} {
		for _, step := range []int{1, 7, 1000} {
			converse(t, s.front.Addr().String(), s, text, func(rest int) int { return min(rest, step) })
			if straight, _ := s.seen(); straight != 0 {
				t.Errorf("%q in steps of %d: %d requests went straight", text, step, straight)
			}
		}
	}
}
