package transport

import (
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"golang.org/x/time/rate"
)

// brake keeps publishers from outrunning the gateway. The server takes what they
// send as fast as their sockets bring it, queues it for the gateway, and cuts the
// gateway off when maxPending is reached; all that was queued is then lost
// without an answer. Its own remedy is to stall a publisher for 10 ms in every
// read of at most 64 KiB, which many connections together outrun. The end of such
// a stall is a debug line, written by the goroutine that reads the publisher's
// socket and with none of the server's locks held but that of its log. There the
// brake holds that goroutine, and so the socket, until the gateway has caught up.
// ADR 0013 says what else was considered.
type brake struct {
	server  atomic.Pointer[server.Server]
	gateway atomic.Uint64 // the server's id of its connection; 0: it has none
	made    *connections
	log     *slog.Logger
	loud    rate.Sometimes
	lag     func() int // bytes that wait for the gateway
	// goOn is the backlog with which publishers go on. It is below the three quarters
	// of the most pending with which the server stalls them, by much more than one
	// publisher brings before it is stalled again.
	goOn    int
	waiting atomic.Int64 // publishers that are held now

	turn sync.Mutex // one publisher looks; the others queue behind it
	stop chan struct{}
}

const (
	// stallEnds is how the format of the server's debug line ends.
	stallEnds = " - Timed out of fast producer stall (%v)"
	// connection stands before the id of the connection that a debug line is about.
	connection = " - cid:"
	// lookAgain is how often a held publisher looks: the gateway takes some MiB in that time.
	lookAgain = 2 * time.Millisecond
)

// newBrake registers with reg, which may be nil.
func newBrake(maxPending int64, made *connections, reg prometheus.Registerer, log *slog.Logger) *brake {
	b := &brake{
		log: log, made: made, goOn: int(maxPending / 2), stop: make(chan struct{}),
		loud: rate.Sometimes{First: 1, Interval: 10 * time.Second},
	}
	b.lag = b.behind
	promauto.With(reg).NewGaugeFunc(prometheus.GaugeOpts{
		Name: "metaq_publishers_held",
		Help: "Connections that are not read from now, because their publishers send more than the gateway can look at. They go on by themselves.",
	}, func() float64 { return float64(b.waiting.Load()) })
	return b
}

// debug is told the format of each debug line of the server, in the goroutine that
// writes it. It returns when the writer may go on.
func (b *brake) debug(format string) {
	if strings.HasSuffix(format, stallEnds) && !b.isOwn(format) {
		b.hold()
	}
}

// isOwn reports whether a debug line is about one of the broker's connections: the gateway
// publishes too, and it cannot catch up while it is held. It is called by the goroutine that
// reads what such a connection sends, so it asks nobody who may wait for that goroutine. It
// once asked the client library, which holds its lock while it writes to the server: the
// write waited for the reader, the reader for the lock, and every answer that went by NATS
// with them, for a minute.
func (b *brake) isOwn(line string) bool {
	_, rest, _ := strings.Cut(line, connection)
	digits := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	if digits < 0 {
		digits = len(rest)
	}
	cid, err := strconv.ParseUint(rest[:digits], 10, 64)
	if err != nil {
		return false
	}
	who := b.made.of(cid)
	return who == forGateway || who == forPeers
}

// hold returns once the gateway has caught up. Publishers leave one after the
// other, and each looks for itself: what the one before brings counts.
func (b *brake) hold() {
	b.waiting.Add(1)
	defer b.waiting.Add(-1)
	b.turn.Lock()
	defer b.turn.Unlock()
	for behind := b.lag(); behind > b.goOn; behind = b.lag() {
		b.loud.Do(func() {
			b.log.Warn("publishers are held back: they send more than the broker can look at", "waiting_bytes", behind)
		})
		select {
		case <-b.stop:
			return
		case <-time.After(lookAgain):
		}
	}
}

// behind returns the bytes that wait for the gateway; 0 when it has no connection.
func (b *brake) behind() int {
	s, id := b.server.Load(), b.gateway.Load()
	if s == nil || id == 0 {
		return 0
	}
	list, err := s.Connz(&server.ConnzOptions{CID: id})
	if err != nil || len(list.Conns) == 0 {
		return 0
	}
	return list.Conns[0].Pending
}
