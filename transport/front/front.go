package front

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Malformed is the name of the only header of a message whose header block could
// not be read. No header that can be sent has it.
const Malformed = ""

// Options are what a Front is made of; all must be set.
type Options struct {
	// Server opens a connection to the NATS server for a client.
	Server func() (net.Conn, error)
	// MaxPayload is the largest message in bytes; MaxPending is how many may wait for
	// one client before it is cut off.
	MaxPayload, MaxPending int
	// Prefix and Ops say what is taken: Prefix.Op.>
	Prefix string
	Ops    []string
	// Reads is the operation, one of Ops, whose answers are large.
	Reads string
	// Closed are operations to whose subjects no client may publish: Prefix.Closed and below.
	// Forbidden encodes the answer to who does.
	Closed    []string
	Forbidden func(subject string) []byte
	// MaxOutbound is how many bytes may wait for all clients together: beyond it the one for
	// which most waits is cut off. 0: no limit.
	MaxOutbound int64
	// MaxUnfinished is how many bytes may be held of messages of which a part has come; beyond
	// it their clients wait, and those that do not send the rest are cut off. 0: no limit.
	MaxUnfinished int64
	// MaxSubs is how many subscriptions a client may have; 0: no limit.
	MaxSubs int
	// Heard is the operation under whose name the gateway gets what goes to the subjects of
	// Hear: Prefix.Heard.SUBJECT.
	Heard string
	// Control are operations, not of Ops, whose requests are handed over one by one, and in no
	// order with the others.
	Control []string
	// Anonymous refuses clients that give credentials. Otherwise these are ignored, as by a
	// server without authorization.
	Anonymous bool
	// Park lets clients that only ask the broker be without a connection to the server. It must
	// not be set where messages come from other servers.
	Park bool
	// Host is where clients are told that it listens; empty: where the listener does.
	Host string
	// Wanted says whether anybody subscribes to a subject, on any server.
	Wanted func(subject string) bool
	Limits Limits
	Logger *slog.Logger
}

// Receiver takes requests. It may hold its caller, and with it the one client that
// sends; it is called from many goroutines.
type Receiver func(*Requests)

// Front listens for clients. It is safe for concurrent use.
type Front struct {
	opts     Options
	log      *slog.Logger
	listener net.Listener
	done     chan struct{}
	all      sync.WaitGroup
	prefix   []byte // with its final dot
	heard    string // the same of Options.Heard
	filters  atomic.Pointer[Filters[struct{}]]
	closedTo []string // of Options.Closed, with their final dots
	reads    []byte   // beginning of the subjects of Options.Reads, with its final dot
	requests [][]byte // beginnings of the subjects that are taken, with their final dots
	control  [][]byte // the same of Options.Control

	handing    sync.RWMutex             // held for reading while a request is handed over
	desk       atomic.Pointer[Receiver] // nil: nobody answers requests
	cutOff     atomic.Int64             // clients that did not take what they asked for
	outbound   atomic.Int64             // about the bytes that wait for all clients
	unfinished unfinished               // bounds what is read of messages that are not whole
	relieving  sync.Mutex               // one goroutine cuts clients off because of MaxOutbound
	refusedSub atomic.Int64             // subscriptions beyond MaxSubs or maxTokens
	// watchers are the subscriptions of clients that may want a copy of requests.
	watchers atomic.Int64

	teller  teller
	doors   admission
	inboxes sync.Map             // conn by inbox, of those that are parked
	info    atomic.Pointer[info] // set before the first client comes

	mu     sync.RWMutex
	ear    *ear
	conns  map[uint64]*conn
	last   uint64
	closed bool
}

// Listen makes a Front of a listener. It takes no client before Serve.
func Listen(l net.Listener, o Options) *Front {
	f := &Front{
		opts: o, log: o.Logger, listener: l, done: make(chan struct{}), conns: make(map[uint64]*conn),
		prefix: []byte(o.Prefix + "."), heard: o.Prefix + "." + o.Heard + ".",
	}
	f.teller.log, f.doors.limits = o.Logger, o.Limits
	f.unfinished.init(o.MaxUnfinished)
	for _, op := range o.Closed {
		f.closedTo = append(f.closedTo, o.Prefix+"."+op+".")
	}
	if o.Reads != "" {
		f.reads = []byte(o.Prefix + "." + o.Reads + ".")
	}
	for _, op := range o.Ops {
		f.requests = append(f.requests, []byte(o.Prefix+"."+op+"."))
	}
	for _, op := range o.Control {
		f.control = append(f.control, []byte(o.Prefix+"."+op+"."))
	}
	return f
}

// Addr is where it listens.
func (f *Front) Addr() net.Addr { return f.listener.Addr() }

// Clients is the number of clients now; CutOff that of those that were cut off because
// they did not take what they had asked for.
func (f *Front) Clients() int {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return len(f.conns)
}

// CutOff is explained at Clients.
func (f *Front) CutOff() int64 { return f.cutOff.Load() }

// Serve begins to take clients, in the background. The server must be running.
func (f *Front) Serve() error {
	e, err := f.listenToServer()
	if err != nil {
		return err
	}
	f.all.Go(func() { f.listen(e) })
	if f.opts.Park {
		f.all.Go(func() { f.tend(tendEvery) })
	}
	f.all.Go(f.accept)
	return nil
}

// Take begins to hand requests over to r.
func (f *Front) Take(r Receiver) { f.desk.Store(&r) }

// Hear says to which subjects the gateway listens beside the broker's own, by filters
// with wildcards; it takes the place of what was said before.
func (f *Front) Hear(filters []string) {
	if len(filters) == 0 {
		f.filters.Store(nil)
		return
	}
	all := new(Filters[struct{}])
	for _, filter := range filters {
		all.Add(filter, struct{}{})
	}
	f.filters.Store(all)
}

// hears says whether the gateway listens to a subject.
func (f *Front) hears(subject []byte) bool {
	filters := f.filters.Load()
	return filters != nil && !f.owns(subject) && filters.Find(subject) != nil
}

// Leave ends what Take began: from now on nobody answers requests. When it
// returns, all others have been handed over.
func (f *Front) Leave() {
	f.handing.Lock() // nobody is handing over any more
	defer f.handing.Unlock()
	f.desk.Store(nil)
}

func (f *Front) accept() {
	for {
		socket, err := f.listener.Accept()
		if err != nil {
			if !errors.Is(err, net.ErrClosed) && f.pause(err) {
				continue
			}
			return
		}
		at, _ := addressOf(socket)
		if why := f.doors.enter(at, time.Now()); why != "" {
			f.turnAway(socket, why)
			continue
		}
		f.all.Go(func() {
			defer f.doors.leave(at)
			f.welcome(socket)
		})
	}
}

// pause waits after a failure, such as no free descriptor; false means the end.
func (f *Front) pause(err error) bool {
	f.teller.tell(nil, "not accepted: "+err.Error())
	select {
	case <-time.After(100 * time.Millisecond):
		return true
	case <-f.done:
		return false
	}
}

func (f *Front) welcome(socket net.Conn) {
	c := &conn{front: f, socket: socket, out: newOutbox(f.opts.MaxPending)}
	c.out.total = &f.outbound
	c.out.from.refused = func(why string) { f.told(socket, why) }
	c.subs.front, c.out.from.subs, c.out.socket = f, &c.subs, newPusher(socket)
	f.mu.Lock()
	f.last++
	c.id = f.last
	f.conns[c.id] = c
	closed := f.closed
	f.mu.Unlock()
	if closed {
		c.close()
	}
	if oldest := f.doors.wait(c); oldest != nil {
		oldest.dismiss(tooManySilent)
	}
	in := inbound{c: c}
	in.use(memoryOf(firstBuffer))
	said, why, err := in.greet()
	switch in.said = said; {
	case err != nil:
		c.close()
	case why != "":
		c.turnedAway(why)
	default:
		c.serve(&in)
	}
	in.mem.leave()
	f.doors.settle(c)
	f.mu.Lock()
	delete(f.conns, c.id)
	f.mu.Unlock()
}

// beginsWith reports whether a subject is longer than one of the beginnings, and begins so.
func beginsWith(subject []byte, beginnings [][]byte) bool {
	for _, b := range beginnings {
		if len(subject) > len(b) && bytes.HasPrefix(subject, b) {
			return true
		}
	}
	return false
}

// watches says whether who subscribes to filter may want to hear requests.
func (f *Front) watches(filter string) bool {
	for _, op := range slices.Concat(f.opts.Ops, f.opts.Control) {
		if overlap(filter, f.opts.Prefix+"."+op+".>") {
			return true
		}
	}
	return false
}

// deliver hands requests over. When the broker stops, nobody answers them any more.
func (f *Front) deliver(all *Requests) {
	f.handing.RLock()
	defer f.handing.RUnlock()
	if r := f.desk.Load(); r != nil {
		(*r)(all)
		return
	}
	for i := range all.All() {
		if reply := all.all[i].Reply; Mine(reply) {
			f.Nobody(reply)
		}
	}
}

// Mine says whether reply is the Reply of a message that was handed over here and
// whose answer Answer takes.
func Mine(reply string) bool { return strings.HasPrefix(reply, " ") }

// Subject is the reply subject that the client gave.
func Subject(reply string) string { return reply[strings.LastIndexByte(reply, ' ')+1:] }

// Answer sends an answer. It does not wait for the client; a client that has gone
// gets nothing, as with NATS. Without done, data is copied; with it, data is lent
// until done is called, which happens once, from any goroutine, in any case.
func (f *Front) Answer(reply string, data []byte, done func()) {
	c, sid, subject := f.find(reply)
	switch {
	case c == nil:
		if done != nil {
			done()
		}
	case !c.out.answer(sid, subject, data, done):
		c.close()
	default:
		f.relieve()
	}
}

// Nobody answers like a server to which nobody listens: with a status, or not at all
// when the client did not say that it understands one.
func (f *Front) Nobody(reply string) {
	if c, sid, subject := f.find(reply); c != nil && c.statuses.Load() && !c.out.nobody(sid, subject) {
		c.close()
	}
}

// find returns the client that asked, nil when it has gone, and what it calls the
// answer.
func (f *Front) find(reply string) (c *conn, sid, subject string) {
	id, rest, _ := strings.Cut(reply[1:], " ")
	sid, subject, _ = strings.Cut(rest, " ")
	n, err := strconv.ParseUint(id, 36, 64)
	if err != nil {
		return nil, "", ""
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.conns[n], sid, subject
}

// Connected reports whether the client that an answer goes to is still there.
func (f *Front) Connected(reply string) bool {
	c, _, _ := f.find(reply)
	return c != nil
}

// Address returns the address of the client that an answer goes to; "" when it has gone.
func (f *Front) Address(reply string) string {
	c, _, _ := f.find(reply)
	if c == nil {
		return ""
	}
	host, _, err := net.SplitHostPort(c.socket.RemoteAddr().String())
	if err != nil {
		return ""
	}
	return host
}

// Flush waits until every client has got what was answered, or ctx ends.
func (f *Front) Flush(ctx context.Context) {
	f.mu.RLock()
	all := make([]*conn, 0, len(f.conns))
	for _, c := range f.conns {
		all = append(all, c)
	}
	f.mu.RUnlock()
	for _, c := range all {
		c.out.flush(ctx)
	}
}

// Close cuts all clients off and returns when they have gone. It may be called
// more than once.
func (f *Front) Close() {
	f.mu.Lock()
	first := !f.closed
	f.closed = true
	for _, c := range f.conns {
		go c.close()
	}
	if f.ear != nil {
		_ = f.ear.Close()
	}
	f.mu.Unlock()
	if first {
		close(f.done)
		_ = f.listener.Close()
	}
	f.all.Wait()
	f.teller.close()
}
