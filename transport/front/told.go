package front

import (
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	// quiet is how long a fault of one kind and address is only counted after it was logged.
	quiet = 10 * time.Second
	// manyTold bounds the table; what does not fit shares an entry for each kind.
	manyTold = 1024
)

const refusedClient = "client refused"

// teller logs what clients do wrong, with their addresses and in bounded number: one line for
// a kind and an address in 10 s, and then how often it was.
type teller struct {
	log *slog.Logger

	mu     sync.Mutex // guards what follows
	all    map[fault]*telling
	timer  *time.Timer // nil while nothing is counted
	closed bool
}

// fault is what is told once in a while.
type fault struct {
	why  string
	from netip.Addr
}

type telling struct {
	at     time.Time // of the last line
	count  int       // since then
	client string    // the last one
}

// told logs that a client was refused, or counts it.
func (f *Front) told(socket net.Conn, why string) { f.teller.tell(socket, why) }

func (t *teller) tell(socket net.Conn, why string) {
	at, client := addressOf(socket)
	key := fault{why, at}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	if t.all == nil {
		t.all = make(map[fault]*telling)
	}
	one := t.all[key]
	if one == nil && len(t.all) >= manyTold {
		key.from = netip.Addr{}
		one = t.all[key]
	}
	if one == nil {
		t.all[key] = &telling{at: time.Now(), client: client}
		t.log.Warn(refusedClient, "client", client, "why", why, "count", 1)
	} else {
		one.count++
		one.client = client
	}
	if t.timer == nil {
		t.timer = time.AfterFunc(quiet, t.catchUp)
	}
}

// catchUp logs what was only counted, and forgets what did not come again.
func (t *teller) catchUp() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.timer = nil
	if t.closed {
		return
	}
	now := time.Now()
	for key, one := range t.all {
		switch {
		case now.Sub(one.at) < quiet:
		case one.count == 0:
			delete(t.all, key)
		default:
			t.log.Warn(refusedClient, "client", one.client, "why", key.why, "count", one.count)
			one.at, one.count = now, 0
		}
	}
	if len(t.all) > 0 {
		t.timer = time.AfterFunc(quiet, t.catchUp)
	}
}

// close logs what was counted and nothing more.
func (t *teller) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.timer != nil {
		t.timer.Stop()
	}
	for key, one := range t.all {
		if one.count > 0 && !t.closed {
			t.log.Warn(refusedClient, "client", one.client, "why", key.why, "count", one.count)
		}
	}
	t.closed, t.all = true, nil
}

// addressOf returns where a client is; socket may be nil.
func addressOf(socket net.Conn) (at netip.Addr, client string) {
	if socket == nil {
		return at, ""
	}
	client = socket.RemoteAddr().String()
	if port, err := netip.ParseAddrPort(client); err == nil {
		at = port.Addr().Unmap()
	}
	return at, client
}
