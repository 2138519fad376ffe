package transport

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/nats-io/nats.go"
	"golang.org/x/time/rate"

	"metaq/actors"
	"metaq/protocol"
	"metaq/transport/front"
	"metaq/transport/resolver"
)

// Addresses of the PIDs that the gateway resolves.
const (
	addressReply  = "nats"   // a reply subject
	addressAdmin  = "admin"  // a reply subject of an administration request, see pagePlace
	addressPage   = "page"   // the same of another broker's question
	addressCreate = "new"    // a topic that the gateway has asked for
	addressLeader = "leader" // a partition that another broker leads
)

// Gateway is the broker's edge to NATS. It implements actors.Gateway.
type Gateway struct {
	opts              Options
	log               *slog.Logger
	system            *actor.ActorSystem
	prefix            string // with its final dot
	heardAs           string // the same of what goes to topics' own subjects, with its final dot
	putsTo, batchesTo string // of puts and of batches, with their final dots
	node              string // in a cluster: of what other brokers send to this one, with its final dot
	answers           string // of the reply subjects of other brokers, with its final dot
	metrics           *metrics
	loud              rate.Sometimes // bounds log lines that a client can cause

	replies, adminReplies, creations *resolver.Resolver
	pages                            *resolver.Resolver
	leaders                          *resolver.Resolver

	encoders chan struct{}  // places of goroutines that encode large answers
	encoding sync.WaitGroup // those goroutines

	routes   atomic.Pointer[actors.Routes]
	puts     *budget
	reads    *budget
	adminNow atomic.Int64 // administration requests in flight
	stalls   *stalls
	watching context.CancelFunc // ends the goroutine of stalls

	nc        *nats.Conn
	subsMu    sync.Mutex // guards the three below
	subs      []*nats.Subscription
	led       map[string]*nats.Subscription // in a cluster: of partitions that are led here
	serving   bool                          // in a cluster: routes are followed
	listeners listeners
	service   stopper
	endpoints map[string]*endpoint // of the administration, by subject; not changed
	groups    *account             // of requests to groups
	turns     controlTurns         // of the front's clients
	payload   atomic.Int64         // largest NATS message; 0 before Start
	counter   *counter             // what the front's clients sent
	writer    *writer              // answers that go by NATS; nil before Start
	incoming  chan *nats.Msg       // of an existing NATS deployment; nil with a front
	gate      *gate
	peersIn   chan *nats.Msg // what other brokers sent on: it does not queue behind a flood of our own clients
	peersGate *gate
	created   chan creation
	checking  chan struct{}     // a place for each dear batch that is decompressed
	checked   chan checkedBatch // never blocks who has checked
	leaving   chan struct{}     // closed when the drain begins
	drained   chan struct{}     // closed when no more messages come
	gaveUp    chan struct{}     // closed when nobody waits for creations any more
	done      chan struct{}     // closed when the dispatcher has gone
	closing   atomic.Bool
	drain     sync.Once

	relay   *relay                    // in a cluster: what was sent on to other brokers
	peers   *nats.Conn                // in a cluster: to the other brokers; it may be nc
	askBy   atomic.Pointer[nats.Conn] // peers once they are connected: groups ask before the gateway has started
	peerSub *nats.Subscription
	asking  chan struct{} // a place for each question that goroutines of asks wait for
	asks    sync.WaitGroup

	dispatcher // owned by the dispatcher goroutine
}

// dispatcher is the state that only the dispatcher goroutine touches.
type dispatcher struct {
	last struct { // what targetOf said of a request that names its topic
		subject string
		target  target
	}
	seen     *actors.Routes // the routes that topics was made from
	topics   map[string]*topicState
	waiting  map[string]*waitingTopic
	asides   map[string]*checkQueue // by topic
	prepared *prepared              // of the request in hand; nil: nothing
	memory   actors.Memory          // of the request in hand, unless somebody has taken it; else nil
	runs     []*run                 // that are not empty
}

type stopper interface{ Stop() error }

var buffers = sync.Pool{New: func() any { return new([]byte) }}

// maxEncoders is how many large answers are encoded at a time next to the partitions'
// readers; each has up to a batch, decompressed, in memory.
var maxEncoders = runtime.GOMAXPROCS(0)

// maxPooled is the largest buffer that is kept for reuse.
const maxPooled = 2 << 20

// NewGateway returns a gateway that has not started. It registers the
// gateway's resolvers with the system, so it comes before the first spawn.
func NewGateway(system *actor.ActorSystem, o Options) (*Gateway, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	g := &Gateway{
		opts: o, log: o.Logger, system: system, prefix: prefixOf(o.Subjects),
		loud: rate.Sometimes{First: 1, Interval: 10 * time.Second},
		puts: newBudget(o.Total), reads: newBudget(o.Reads),
		groups:   newGroupsAccount(),
		counter:  newCounter(o.Backlog / front.ManyRequests),
		created:  make(chan creation, o.Waiting), // never blocks the actor that answers
		checking: make(chan struct{}, checkers()), checked: make(chan checkedBatch, manyChecked),
		leaving: make(chan struct{}),
		drained: make(chan struct{}), gaveUp: make(chan struct{}), done: make(chan struct{}),
		encoders: make(chan struct{}, maxEncoders),
		dispatcher: dispatcher{
			topics:  make(map[string]*topicState),
			waiting: make(map[string]*waitingTopic),
			asides:  make(map[string]*checkQueue),
		},
	}
	g.turns = newControlTurns(o.Admin, g.leaving)
	g.heardAs = g.prefix + opHeard + "."
	g.putsTo, g.batchesTo = g.prefix+protocol.OpPut+".", g.prefix+protocol.OpBatch+"."
	if o.Front == nil {
		g.incoming = make(chan *nats.Msg, o.Backlog)
	}
	g.gate = newGate(g.incoming, g.shed)
	if o.Cluster != nil {
		g.peersIn = make(chan *nats.Msg, o.Backlog)
		g.peersGate = newGate(g.peersIn, g.shed)
		g.relay = newRelay(g, windowOf(&o))
		g.node, g.answers = g.nodeSubject(o.Cluster.BrokerID, ""), o.Subjects.Node(nodeAnswers, "")
	}
	g.metrics = newMetrics(o.Metrics, g)
	g.routes.Store(&actors.Routes{})
	g.replies = resolver.Register(system, addressReply, g.answer, g.refuseSystem)
	g.adminReplies = resolver.Register(system, addressAdmin, g.answerAdmin, g.refuseSystem)
	g.pages = resolver.Register(system, addressPage, g.answerPage, g.refuseSystem)
	g.creations = resolver.Register(system, addressCreate, g.answerCreate, g.refuseSystem)
	g.endpoints = g.newEndpoints()
	g.led, g.asking = make(map[string]*nats.Subscription), make(chan struct{}, peerAsks)
	g.leaders = resolver.RegisterAsk(system, addressLeader, g.askLeader, g.refuseSystem)
	return g, nil
}

func prefixOf(s protocol.Subjects) string {
	const op = "x"
	subject := s.Put(op)
	return subject[:len(subject)-len(protocol.OpPut)-1-len(op)]
}

// Publish takes a new picture of the routes. It is called from any goroutine.
func (g *Gateway) Publish(r *actors.Routes) {
	g.routes.Store(r)
	g.listen(r)
	if g.shared() {
		g.follow(r)
	}
}

// MaxPayload is the largest NATS message in bytes; 0 before Start.
func (g *Gateway) MaxPayload() int64 { return g.payload.Load() }

// Start connects to NATS and begins to take requests.
func (g *Gateway) Start(context.Context) error {
	nc, err := g.opts.Connect(g.gate.wrapClients,
		nats.Name(g.opts.Name),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(250*time.Millisecond),
		nats.ErrorHandler(g.onError),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if !g.closing.Load() {
				g.log.Warn("nats connection lost, trying to get it back", "err", err)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			g.metrics.reconnects.Inc()
			g.payload.Store(nc.MaxPayload()) // it may be another server
			g.log.Info("nats connection is back", "url", protocol.PublicURL(nc.ConnectedUrl()))
		}),
		nats.ClosedHandler(func(nc *nats.Conn) {
			if !g.closing.Load() {
				g.opts.Fail(fmt.Errorf("the connection to NATS was closed: %w", errors.Join(nc.LastError(), nats.ErrConnectionClosed)))
			}
		}),
	)
	if err != nil {
		return err
	}
	g.nc, g.writer = nc, startWriter(g.sendLetter)
	g.payload.Store(nc.MaxPayload())
	watch, cancel := context.WithCancel(context.Background())
	g.watching = cancel
	g.stalls = newStalls(time.Now(), func(stood time.Duration) {
		g.metrics.stalls.Inc()
		g.log.Warn("the broker stood still: nothing is created, changed, deleted or reset for a while, since such a request may be from before",
			"stood", stood.Round(time.Millisecond), "while", clientWait)
	})
	g.asks.Go(func() { g.stalls.run(watch) })
	go g.dispatch()
	if g.opts.Cluster != nil {
		err = g.connectPeers()
	}
	if err == nil {
		err = g.subscribe()
	}
	if err == nil {
		err = g.serveAdmin()
	}
	if err == nil && g.opts.Cluster != nil {
		err = g.servePeers()
	}
	if err != nil {
		return errors.Join(err, g.Drain(context.Background()), g.Close())
	}
	return nil
}

// Drain stops taking requests and returns when all that were taken have been
// sent on. When ctx ends first, puts that wait for their topic are refused.
func (g *Gateway) Drain(ctx context.Context) error {
	if g.nc == nil {
		return nil
	}
	var err error
	g.drain.Do(func() {
		close(g.leaving)
		g.writer.letGo()
		if g.opts.Front != nil {
			g.opts.Front.Leave()
		}
		if g.service != nil {
			err = g.service.Stop()
		}
		if g.peerSub != nil {
			err = errors.Join(err, g.peerSub.Unsubscribe())
		}
		err = errors.Join(err, g.unsubscribe(ctx))
		close(g.drained)
	})
	select {
	case <-g.done:
	case <-ctx.Done():
		close(g.gaveUp)
		<-g.done
	}
	return err
}

// Close sends what is left to send and ends the connection. Drain comes first.
func (g *Gateway) Close() error {
	if g.nc == nil || !g.closing.CompareAndSwap(false, true) {
		return nil
	}
	g.watching()
	err := g.leavePeers()
	g.encoding.Wait() // the readers have stopped by now
	g.writer.close()
	if g.peers != nil && g.peers != g.nc {
		g.peers.Close()
	}
	err = errors.Join(err, g.nc.FlushTimeout(flushTimeout))
	if g.opts.Front != nil {
		ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
		g.opts.Front.Flush(ctx)
		cancel()
	}
	g.nc.Close()
	if errors.Is(err, nats.ErrConnectionClosed) {
		return nil // an external server has gone before us
	}
	return err
}

// dispatch handles requests one after the other, so that two messages of one
// connection reach a partition in the order in which they were sent.
func (g *Gateway) dispatch() {
	defer close(g.done)
	for {
		g.sendRuns()
		select {
		case r := <-g.counter.requests:
			g.together(r)
			g.handed(len(g.counter.requests))
		case m := <-g.incoming:
			g.gate.looked(m)
			g.receive(m)
			g.fromGate(g.gate)
		case m := <-g.peersIn:
			g.peersGate.looked(m)
			g.receive(m)
			g.fromGate(g.peersGate)
		case c := <-g.created:
			g.topicCreated(c)
		case c := <-g.checked:
			g.checkDone(c)
		case <-g.drained:
			g.finish()
			return
		}
	}
}

// handOver returns what takes the requests of the front's clients, on their connection's
// goroutine. Whose answers go by NATS waits while many of those do.
func (g *Gateway) handOver() front.Receiver {
	note := g.opts.Events.Receive
	return func(r *front.Requests) {
		if slices.ContainsFunc(r.All(), func(m front.Request) bool { return m.Reply != "" && !front.Mine(m.Reply) }) {
			g.writer.room()
		}
		if r.Control {
			one, client := &r.All()[0], r.Client
			m := &nats.Msg{Subject: one.Subject, Reply: one.Reply, Header: one.Header, Data: one.Data}
			r.Done()
			g.control(m, client)
			return
		}
		if note != nil {
			for i := range r.All() {
				note(actors.Event{Topic: r.All()[i].Subject})
			}
		}
		g.prepare(r)
		g.counter.hand(r)
	}
}

// some is how many messages that came one way are handled before the other ways are
// looked at: asking one channel at a time costs less.
const some = 256

// together handles what a client handed over together, and returns how many they were.
func (g *Gateway) together(r *front.Requests) (n int) {
	g.counter.looked(r.Bytes)
	all := r.All()
	for rest := all; len(rest) > 0; {
		n, served := g.putAlike(rest)
		for i := range rest[:n] {
			if !served {
				g.fromClient(&rest[i])
			}
		}
		rest = rest[n:]
	}
	n = len(all)
	r.Done()
	return n
}

// fromClient handles a request that a client handed over.
func (g *Gateway) fromClient(m *front.Request) {
	g.memory = m.Memory()
	g.prepared, _ = m.Prepared.(*prepared)
	g.receive(&m.Msg)
	g.prepared = nil
	if memory := g.takeMemory(); memory != nil {
		memory.Release(1)
	}
}

// handed handles about some messages of what clients have handed over so many times, and
// returns how many times are left.
func (g *Gateway) handed(times int) (left int) {
	for n := 0; n < some && times > 0; times-- {
		n += g.together(<-g.counter.requests)
	}
	return times
}

// control serves a request to a group or of the administration. It is called on the goroutine
// of the client's connection, of many at a time; it holds that until it is the client's turn.
func (g *Gateway) control(m *nats.Msg, client uint64) {
	op, rest, _ := strings.Cut(m.Subject[len(g.prefix):], ".")
	if op == opGroup && strings.Count(rest, ".") == 1 {
		g.group(g.groups, m, client)
		return
	}
	if e := g.endpoints[m.Subject]; e != nil {
		g.admin(e, m, client)
		return
	}
	if m.Reply != "" && !g.ignoreReply(m) {
		g.publish(m.Reply, nobody{})
	}
}

// allHanded handles what was handed over until now. Other brokers do not wait for all of
// it.
func (g *Gateway) allHanded() {
	for left := len(g.counter.requests); left > 0; {
		left = g.handed(left)
		g.sendRuns()
		g.fromGate(g.peersGate)
	}
}

// fromGate handles some of what has come through a gate.
func (g *Gateway) fromGate(from *gate) {
	for range some {
		m, there := from.next()
		if !there {
			return
		}
		g.receive(m)
	}
}

// finish handles what is left when no more messages come.
func (g *Gateway) finish() {
	g.allHanded()
	for len(g.incoming)+len(g.peersIn) > 0 {
		g.fromGate(g.gate)
		g.fromGate(g.peersGate)
	}
	g.sendRuns()
	gaveUp := g.gaveUp
	for len(g.waiting)+len(g.asides) > 0 {
		select {
		case c := <-g.checked:
			g.checkDone(c)
		case c := <-g.created:
			g.topicCreated(c)
		case <-gaveUp:
			gaveUp = nil // a check ends soon
			for topic := range g.waiting {
				g.topicCreated(creation{topic, stopping})
			}
		}
		g.sendRuns()
	}
}

// takeMemory hands the memory of the request in hand over to who keeps its data; it may
// be nil.
func (d *dispatcher) takeMemory() actors.Memory {
	m := d.memory
	d.memory = nil
	return m
}

// receive is the first hop in the broker. Of m nothing stays after it but what was put:
// see takeMemory.
func (g *Gateway) receive(m *nats.Msg) {
	if g.ignoreReply(m) {
		return
	}
	if m.Sub != nil {
		markPart(m, g.sentOn(m))
	}
	t, err := g.targetOf(m)
	switch t.op {
	case protocol.OpPut:
		g.metrics.puts.add(1, len(m.Data))
	case protocol.OpBatch:
		g.metrics.batches.add(1, len(m.Data))
	case protocol.OpGet:
		g.metrics.gets.add(1, len(m.Data))
	case protocol.OpOffsets:
		g.metrics.offsets.add(1, len(m.Data))
	}
	if err == nil {
		err = g.serve(&t, m)
	}
	if err != nil {
		g.refuse(m, err)
	}
}

// shed refuses what there is no time to look at. It is called by the library's
// reading goroutine.
func (g *Gateway) shed(m *nats.Msg) {
	g.metrics.shed.Inc()
	if !g.ignoreReply(m) {
		g.refuse(m, overrun)
	}
}

// ignoreReply says whether m is to be ignored since its answer would be a
// request: not even a refusal may go there, for it might never end.
func (g *Gateway) ignoreReply(m *nats.Msg) bool {
	if !g.opts.Subjects.Inside(m.Reply) || g.sentOn(m) && strings.HasPrefix(m.Reply, g.answers) {
		return false
	}
	g.metrics.badReply.Inc()
	g.loud.Do(func() {
		g.log.Warn("request was ignored: its reply subject is inside the broker's own subjects",
			"subject", m.Subject, "reply", m.Reply)
	})
	return true
}

// serve sends the request on, or returns why not.
func (g *Gateway) serve(t *target, m *nats.Msg) error {
	if err := oversizedHeaders(m); err != nil {
		return err
	}
	if q := g.waitsAside(t, m); q != nil {
		return q.add(m)
	}
	if p := g.prepared; p != nil && p.err != nil && t.op == protocol.OpBatch {
		return p.err // another broker would say the same
	}
	if g.opts.Cluster != nil && t.one {
		if t.partition.Home != g.opts.Cluster.BrokerID && !t.sentOn {
			return g.elsewhere(t, m)
		}
		if !g.leads(t) {
			return nobody{}
		}
	}
	if t.op != protocol.OpPut {
		g.sendRuns() // what was put before it comes before it
	}
	switch t.op {
	case protocol.OpPut:
		return g.put(t, m)
	case protocol.OpBatch:
		return g.putBatch(t, m)
	case protocol.OpGet:
		return g.get(t, m)
	case protocol.OpOffsets:
		return g.offsets(t, m)
	default: // in a cluster a subscription takes all operations of a partition
		return protocol.ErrBadRequest.With("no operation %.40q: use put, batch, get or offsets", t.op)
	}
}

// refuse answers m with err.
func (g *Gateway) refuse(m *nats.Msg, err error) {
	g.metrics.refuse(err)
	if m.Reply == "" {
		g.metrics.noReply.Inc()
		g.loud.Do(func() {
			g.log.Warn("request without a reply subject was refused", "subject", m.Subject, "err", err)
		})
		return
	}
	g.publish(m.Reply, err)
}

// Acknowledge implements actors.Gateway: many answers at once, which cost a client
// of the front one wake-up.
func (g *Gateway) Acknowledge(all iter.Seq2[*actor.PID, *protocol.PubAck]) {
	var answers front.Answers
	if g.opts.Front != nil {
		answers.Begin(g.opts.Front)
		defer answers.End()
	}
	buf := buffers.Get().(*[]byte) //nolint:forcetypeassert // the pool's own
	defer buffers.Put(buf)
	for to, ack := range all {
		switch {
		case to == nil:
		case to.Address == addressReply && front.Mine(to.Id):
			*buf = ack.Append((*buf)[:0])
			answers.Add(to.Id, *buf)
		default:
			if g.opts.Front != nil {
				answers.End() // nothing of a client is held while others are told
			}
			g.system.Root.Send(to, *ack)
		}
	}
}

// answer is what a PID of a reply subject leads to: the last hop.
func (g *Gateway) answer(reply string, message any) {
	r, ok := message.(*actors.GetResult)
	if !ok || r.Release == nil {
		g.publish(reply, message)
		return
	}
	frame := readyFrame(r, int(g.payload.Load()))
	switch {
	case frame == nil:
		g.encode(reply, r)
	case front.Mine(reply):
		g.opts.Front.Answer(reply, frame, r.Release)
	default:
		g.byNATS(letter{nc: g.connOf(reply), reply: reply, data: frame, large: true, free: r.Release})
	}
}

// encode answers a get that has to be encoded. One that is large is encoded on a goroutine
// of its own, as long as few are: who calls is the partition's reader, behind which every
// other get of the partition waits. When many are, it waits here, which is what bounds them.
func (g *Gateway) encode(reply string, r *actors.GetResult) {
	rest := func() {
		g.publish(reply, r)
		r.Release()
	}
	if !costly(r) {
		rest()
		return
	}
	select {
	case g.encoders <- struct{}{}:
		g.encoding.Add(1)
		go func() {
			defer g.encoding.Done()
			defer func() { <-g.encoders }()
			rest()
		}()
	default:
		rest()
	}
}

// connOf returns the connection on which reply is heard.
func (g *Gateway) connOf(reply string) *nats.Conn {
	if g.answers != "" && strings.HasPrefix(reply, g.answers) {
		return g.peers
	}
	return g.nc
}

// publish encodes answer and sends it to the reply subject. It does not wait, and is called
// from any goroutine.
func (g *Gateway) publish(reply string, answer any) {
	nc := g.connOf(reply)
	if _, is := answer.(nobody); is {
		g.writeNobody(nc, reply)
		return
	}
	limit := int(g.payload.Load())
	if frame := readyFrame(answer, limit); frame != nil && front.Mine(reply) {
		g.opts.Front.Answer(reply, frame, nil)
		return
	}
	buf := buffers.Get().(*[]byte) //nolint:forcetypeassert // the pool's own
	l := letter{nc: nc, reply: reply, pooled: buf, large: isRead(answer)}
	if frame := readyFrame(answer, limit); frame != nil {
		*buf = append((*buf)[:0], frame...)
	} else {
		*buf = encodeAnswer((*buf)[:0], answer, limit)
	}
	if l.data = *buf; front.Mine(reply) {
		g.opts.Front.Answer(reply, l.data, nil)
		l.release()
		return
	}
	g.byNATS(l)
}

func (g *Gateway) written(reply string, err error) {
	if err != nil {
		g.metrics.unanswered.Inc()
		g.loud.Do(func() { g.log.Warn("answer could not be sent", "reply", reply, "err", err) })
	}
}

// refuseSystem tells of an actor that wants to watch or stop a client.
func (g *Gateway) refuseSystem(id string, message any) {
	g.log.Warn("an actor tried to watch or stop a place outside", "place", id, "message", fmt.Sprintf("%T", message))
}

// onError is told what goes wrong between the library and us.
func (g *Gateway) onError(_ *nats.Conn, sub *nats.Subscription, err error) {
	g.metrics.slowSignals.Inc()
	switch {
	case errors.Is(err, nats.ErrSlowConsumer):
		g.log.Error("requests were dropped without an answer: the gateway is overrun",
			"dropped", g.dropped(), "backlog", cap(g.incoming))
	case sub != nil:
		g.loud.Do(func() { g.log.Warn("nats reported an error", "subject", sub.Subject, "err", err) })
	default:
		g.loud.Do(func() { g.log.Warn("nats reported an error", "err", err) })
	}
}
