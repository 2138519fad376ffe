package interop

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"metaq/client"
	"metaq/test/process"
)

// lossy stands between clients and a NATS server. It drops every tenth answer, and
// cuts every second connection after a while.
type lossy struct {
	listener net.Listener
	server   string
	all      sync.WaitGroup

	mu    sync.Mutex // guards conns
	conns []net.Conn

	connections, answers, dropped, cut atomic.Int64
}

const cutAfter = 25 // answers on every second connection

func startLossy(t testing.TB, server string) *lossy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &lossy{listener: listener, server: strings.TrimPrefix(server, "nats://")}
	p.all.Go(p.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		p.mu.Lock()
		for _, c := range p.conns {
			_ = c.Close()
		}
		p.mu.Unlock()
		p.all.Wait()
	})
	return p
}

func (p *lossy) url() string { return "nats://" + p.listener.Addr().String() }

func (p *lossy) accept() {
	for {
		in, err := p.listener.Accept()
		if err != nil {
			return // the test ends
		}
		out, err := net.Dial("tcp", p.server)
		if err != nil {
			_ = in.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, in, out)
		p.mu.Unlock()
		doomed := p.connections.Add(1)%2 == 0
		end := func() { _, _ = in.Close(), out.Close() }
		p.all.Go(func() {
			defer end()
			_, _ = io.Copy(out, in)
		})
		p.all.Go(func() {
			defer end()
			p.answersOf(bufio.NewReader(out), in, doomed)
		})
	}
}

// answersOf passes on what the server sends, without every tenth message to an
// inbox.
func (p *lossy) answersOf(from *bufio.Reader, to io.Writer, doomed bool) {
	for n := 0; ; {
		line, err := from.ReadBytes('\n')
		if err != nil {
			return
		}
		words := bytes.Fields(line)
		if len(words) > 3 && (string(words[0]) == "MSG" || string(words[0]) == "HMSG") {
			size, err := strconv.Atoi(string(words[len(words)-1]))
			if err != nil {
				return
			}
			body := make([]byte, size+2)
			if _, err := io.ReadFull(from, body); err != nil {
				return
			}
			line = append(line, body...)
			if bytes.HasPrefix(words[1], []byte("_INBOX")) && bytes.Contains(body, []byte(`"seq":`)) {
				if n++; doomed && n == cutAfter {
					p.cut.Add(1)
					return
				}
				if p.answers.Add(1)%10 == 0 {
					p.dropped.Add(1)
					continue
				}
			}
		}
		if _, err := to.Write(line); err != nil {
			return
		}
	}
}

// Every tenth acknowledgement is lost and every second connection is cut: native
// and JetStream producers try again, and each message is there once, those of one
// producer in their order.
func TestEachMessageOnceThroughABadNetwork(t *testing.T) {
	const publishers, each = 4, 100
	b := process.Start(t, nil)
	network := startLossy(t, b.URL)
	direct := connect(t, b.URL)
	create(t, direct, "native", 1, "")
	create(t, direct, "jetstream", 4, "")
	var work sync.WaitGroup
	for p := range publishers {
		work.Go(func() { native(t, network.url(), p, each) })
		work.Go(func() { modern(t, network.url(), p, each) })
	}
	work.Wait()
	t.Logf("%d connections, %d cut; %d acknowledgements, %d dropped",
		network.connections.Load(), network.cut.Load(), network.answers.Load(), network.dropped.Load())
	if network.cut.Load() < publishers || network.dropped.Load() < publishers*each/10 {
		t.Error("the network was too good")
	}
	for _, topic := range []string{"native", "jetstream"} {
		seen := map[string]int{}
		for id, list := range stored(t, direct, topic) {
			last := map[string]int{}
			for _, m := range list {
				seen[*m.Data]++
				who, text, _ := strings.Cut(*m.Data, "/")
				n, err := strconv.Atoi(text)
				if err != nil {
					t.Fatal(err)
				}
				if n <= last[who] {
					t.Errorf("%s %s: message %d of producer %s came after %d", topic, id, n, who, last[who])
				}
				last[who] = n
			}
		}
		for p := range publishers {
			for i := range each {
				if n := seen[fmt.Sprintf("%d/%d", p, i+1)]; n != 1 {
					t.Errorf("%s: message %d of producer %d is stored %d times", topic, i+1, p, n)
				}
			}
		}
		if len(seen) != publishers*each {
			t.Errorf("%s holds %d messages, want %d", topic, len(seen), publishers*each)
		}
	}
}

// The broker is killed while publishers with ids wait for answers: each message is
// there once.
func TestEachMessageOnceThroughKills(t *testing.T) {
	const publishers, each, kills = 4, 150, 3
	b := process.Start(t, nil)
	create(t, connect(t, b.URL), "jetstream", 4, "")
	var work sync.WaitGroup
	for p := range publishers {
		work.Go(func() { modern(t, b.URL, p, each) })
	}
	for k := range kills {
		nc := connect(t, b.URL)
		for at := time.Now(); ; {
			if n := len(values(t, nc, "jetstream")); n >= (k+1)*publishers*each/(kills+1) {
				break
			} else if time.Since(at) > patience {
				t.Fatalf("only %d messages are stored", n)
			}
		}
		b.Kill()
		b.Start()
	}
	work.Wait()
	seen := map[string]int{}
	for _, v := range values(t, connect(t, b.URL), "jetstream") {
		seen[v]++
	}
	if len(seen) != publishers*each {
		t.Errorf("%d messages are stored, want %d", len(seen), publishers*each)
	}
	for v, n := range seen {
		if n != 1 {
			t.Errorf("message %s is stored %d times", v, n)
		}
	}
}

func native(t *testing.T, url string, p, each int) {
	ctx := t.Context()
	c, err := client.Connect(ctx, client.WithServers(url))
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	// Small batches, or one acknowledgement would do for all.
	producer, err := c.NewProducer(client.WithRequestTimeout(200*time.Millisecond), client.WithBatchBytes(32))
	if err != nil {
		t.Error(err)
		return
	}
	for i := range each {
		err := producer.SendAsync(ctx, client.Record{Topic: "native", Value: fmt.Appendf(nil, "%d/%d", p, i+1)},
			func(_ client.Result, err error) {
				if err != nil {
					t.Errorf("native %d/%d: %v", p, i+1, err)
				}
			})
		if err != nil {
			t.Error(err)
			return
		}
	}
	if err := producer.Close(ctx); err != nil {
		t.Error(err)
	}
}

func modern(t *testing.T, url string, p, each int) {
	nc, err := nats.Connect(url, nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
	if err != nil {
		t.Error(err)
		return
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Error(err)
		return
	}
	for i := range each {
		value := fmt.Sprintf("%d/%d", p, i+1)
		if ack := publish(t, js, "metaq.put.jetstream", value, value); ack.Domain != "" {
			t.Errorf("domain %q", ack.Domain)
		}
	}
}
