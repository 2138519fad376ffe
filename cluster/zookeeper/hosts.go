package zookeeper

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"

	"metaq/cluster/registry"
)

// defaultZooKeeperPort is used where zk.zkConnect names none.
const defaultZooKeeperPort = "2181"

// ParseConnect reads a zk.zkConnect: host:port, separated by commas, and at the
// end, if wanted, the path below which everything is kept, as in "a:2181,b:2181/apps".
// The chroot is "" or an absolute path.
func ParseConnect(connect string) (servers []string, chroot string, err error) {
	list, path, _ := strings.Cut(connect, "/")
	if strings.Contains(path, ",") {
		return nil, "", fmt.Errorf("zk.zkConnect %q: %w: the path stands once, after the last server", connect, registry.ErrInvalid)
	}
	if path = strings.Trim(path, "/"); path != "" {
		chroot = "/" + path
		if err := registry.CheckPath(chroot); err != nil {
			return nil, "", fmt.Errorf("zk.zkConnect %q: chroot: %w", connect, err)
		}
	}
	for server := range strings.SplitSeq(list, ",") {
		server = strings.TrimSpace(server)
		if server == "" {
			continue
		}
		if bare := strings.Trim(server, "[]"); !strings.Contains(bare, ":") || net.ParseIP(bare) != nil {
			server = net.JoinHostPort(bare, defaultZooKeeperPort)
		}
		host, port, err := net.SplitHostPort(server)
		if err != nil || host == "" || port == "" {
			return nil, "", fmt.Errorf("zk.zkConnect %q: %w: %q is not host:port", connect, registry.ErrInvalid, server)
		}
		servers = append(servers, server)
	}
	if len(servers) == 0 {
		return nil, "", fmt.Errorf("zk.zkConnect %q: %w: it names no server", connect, registry.ErrInvalid)
	}
	return servers, chroot, nil
}

// zkHosts hands out the servers in random order, over and over. Names are resolved by
// the dialer at each attempt: the library's own provider does so once, at the start, and
// gives up when one of the names is unknown then.
type zkHosts struct {
	mu      sync.Mutex // guards what follows
	servers []string
	next    int
	tried   int // since the last success
	over    bool
	errs    map[string]error // why each server was not taken last
}

func newZKHosts(servers []string) *zkHosts {
	h := &zkHosts{errs: make(map[string]error)}
	for _, i := range rand.Perm(len(servers)) {
		h.servers = append(h.servers, servers[i])
	}
	return h
}

// Init is the library's; the servers are known already.
func (h *zkHosts) Init([]string) error { return nil }

// Len is the number of servers.
func (h *zkHosts) Len() int { return len(h.servers) }

// Next names the server to try. The library is told of the end of a round only when all
// is over: it fails then what waits to be sent, and would pause for a second each time.
func (h *zkHosts) Next() (string, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	server := h.servers[h.next%len(h.servers)]
	h.next++
	h.tried++
	return server, h.over
}

const (
	// dialPause is the least time between two attempts at the same server: without it a
	// server that greets and hangs up would be asked in a tight loop.
	dialPause = 100 * time.Millisecond
	// maxDialPause is the most, for an ensemble that is away for long.
	maxDialPause = time.Second
)

// pause is the time between two attempts at the same server: it doubles with each round
// in which nobody took the session, up to a tenth of the session timeout.
func (h *zkHosts) pause(session time.Duration) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	pause := dialPause
	for rounds := (h.tried - 1) / len(h.servers); rounds > 0 && pause < maxDialPause; rounds-- {
		pause *= 2
	}
	return max(dialPause, min(pause, session/10, maxDialPause))
}

// Connected is called when a session is there.
func (h *zkHosts) Connected() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tried = 0
	clear(h.errs)
}

// end makes every attempt the last of its round, so that the library notices its end.
func (h *zkHosts) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.over = true
}

// failed notes why a server was not taken.
func (h *zkHosts) failed(server string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.errs[server] = err
}

// failures names every server with what was wrong with it, in one line.
func (h *zkHosts) failures() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []string
	for _, server := range h.servers {
		why := "no answer yet"
		if err := h.errs[server]; err != nil {
			why = err.Error()
		}
		all = append(all, server+": "+why)
	}
	return errors.New(strings.Join(all, "; "))
}
