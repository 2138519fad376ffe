package transport

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"metaq/protocol"
	"metaq/transport/turns"
)

const (
	// relayPatience is how long another broker has for its answer to what was sent on to
	// it: less than the five seconds after which NATS clients give up by themselves.
	relayPatience = 4 * time.Second
	// relayCheck is how often it is looked whether that broker is still there.
	relayCheck = 100 * time.Millisecond
	// readPatience is how much longer a read may take: nothing is unknown when it fails, its
	// answer may be large, and whether the broker is there is looked at all the time.
	readPatience = 30 * time.Second
	// maxRelayWait is the longest that a get is believed to want to wait, in milliseconds.
	maxRelayWait = 60_000
	// relayEnd bounds the wait for answers when this broker stops.
	relayEnd = time.Second
)

// relay sends requests on to other brokers and their answers back, so that who asked is
// answered once whatever becomes of the other broker: NATS delivers at most once, and
// tells nobody of what was on its way to a broker that died.
//
// What waits for one other broker is bounded by a window of its own. That bounds too what
// can wait for that broker's gateway inside its NATS server: all brokers' windows together
// are far below the size at which the server would cut the gateway off. A flood for
// another broker is refused here, as a flood for this one is.
//
// Its timer runs only while something waits.
type relay struct {
	g     *Gateway
	inbox string // subject of the answers, with its final dot
	sub   *nats.Subscription
	// A window's places are not those of the broker's own requests: one that waits for a
	// frozen broker takes nobody's place here.
	limits windowLimits

	mu      sync.Mutex // guards what follows; nothing is sent under it
	windows map[int]*window
	waiting map[uint64]onward
	last    uint64
	timer   *time.Timer // nil while nothing waits
	ending  bool
	empty   chan struct{} // closed at the end when nothing waits any more
	checks  sync.WaitGroup
}

// onward is a request that waits for another broker's answer.
type onward struct {
	reply  string // where the answer goes; empty when nobody waits for it
	broker int
	until  time.Time
	size   int
	from   *budget // where its place is
	// nobody answers when the other broker does not lead the partition, or is not there.
	nobody error
	stream bool        // there may be several answers
	seat   *turns.Seat // of the client that asked, given back with the answer; may be nil
}

func newRelay(g *Gateway, l windowLimits) *relay {
	return &relay{
		g: g, limits: l,
		windows: make(map[int]*window), waiting: make(map[uint64]onward), empty: make(chan struct{}),
	}
}

// start begins to take answers.
func (r *relay) start() error {
	r.inbox = r.g.peers.NewInbox() + "."
	var err error
	if r.sub, err = r.g.peers.Subscribe(r.inbox+"*", r.answered); err != nil {
		return fmt.Errorf("subscribe to other brokers' answers: %w", err)
	}
	return r.sub.SetPendingLimits(-1, -1) // the windows bound them
}

// send sends m on to a broker as the operation op of what place names. The sender is
// answered, unless send returns an error. Of o the fields nobody, until, stream and seat are set.
//
// What needs no answer is answered all the same, to give its place back.
func (r *relay) send(m *nats.Msg, op, place string, broker int, o onward) error {
	o.reply, o.broker, o.size = m.Reply, broker, m.Size()+overhead
	o.from = r.window(broker).of(op)
	if !o.from.take(1, int64(o.size)) {
		r.g.metrics.windowFull.Inc()
		return peerBusy
	}
	id := r.keep(o)
	r.g.metrics.sentOn.Inc()
	err := r.g.peers.PublishMsg(&nats.Msg{
		Subject: r.g.nodeSubject(broker, op) + "." + place, Reply: r.inbox + strconv.FormatUint(id, 36),
		Header: sendable(m.Header), Data: m.Data,
	})
	if err != nil {
		switch _, waits := r.take(id); {
		case !waits: // it was refused when its time was over
		case errors.Is(err, nats.ErrMaxPayload):
			return protocol.ErrTooLarge.With("the message does not fit NATS's payload when it is sent on to broker %d: send a smaller one, with fewer headers", broker)
		default:
			return protocol.ErrUnavailable.With("send on to broker %d: %v: try again", broker, err)
		}
	}
	return nil
}

// window returns the window of a broker.
func (r *relay) window(broker int) *window {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.windows[broker]
	if w == nil {
		w = newWindow(r.limits)
		r.windows[broker] = w
	}
	return w
}

func (r *relay) keep(o onward) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last++
	r.waiting[r.last] = o
	if r.timer == nil {
		r.armLocked()
	}
	return r.last
}

func (r *relay) armLocked() {
	r.checks.Add(1)
	r.timer = time.AfterFunc(relayCheck, r.check)
}

// take hands out who waits, once.
func (r *relay) take(id uint64) (onward, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	o, waits := r.waiting[id]
	if waits {
		r.forgetLocked(id, o)
	}
	return o, waits
}

func (r *relay) forgetLocked(id uint64, o onward) {
	delete(r.waiting, id)
	o.from.release(1, int64(o.size))
	o.seat.Leave()
	if r.ending && len(r.waiting) == 0 {
		close(r.empty)
	}
}

// look hands out who waits, and keeps the place: there may be more to come.
func (r *relay) look(id uint64) (onward, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	o, waits := r.waiting[id]
	if waits && o.stream {
		o.until = time.Now().Add(relayPatience + readPatience)
		r.waiting[id] = o
	}
	return o, waits
}

// moreFollows says whether another answer to the same request comes.
func moreFollows(answer []byte) bool {
	h, _, err := protocol.ParseFetch(answer)
	return err == nil && h.More
}

// answered passes an answer back; NATS answers itself when nobody listens any more.
func (r *relay) answered(m *nats.Msg) {
	r.g.peersGate.looked(m)
	id, err := strconv.ParseUint(m.Subject[len(r.inbox):], 36, 64)
	if err != nil {
		return // nobody but us knows the inbox
	}
	o, waits := r.look(id)
	if waits && (!o.stream || !moreFollows(m.Data)) {
		o, waits = r.take(id)
	}
	switch {
	case !waits: // it was told that there is none
	case len(m.Data) == 0 && m.Header.Get(statusHeader) == statusNobody:
		r.refuse(o, o.nobody)
	case o.reply == "":
		if err := protocol.DecodeError(m.Data); err != nil {
			r.refuse(o, err)
		}
	default:
		r.g.publish(o.reply, frame{m.Data, o.stream})
	}
}

// refuse is for who may not have wanted an answer.
func (r *relay) refuse(o onward, err error) { r.g.refuse(&nats.Msg{Reply: o.reply}, err) }

func brokerGone(broker int) error {
	return protocol.ErrUnavailable.With("broker %d, which was to answer, has just gone; whether it took the request is not known: try again", broker)
}

// check refuses those whose broker has gone, or does not answer.
func (r *relay) check() {
	defer r.checks.Done()
	there := map[int]bool{}
	r.mu.Lock()
	for _, o := range r.waiting {
		there[o.broker] = true
	}
	r.mu.Unlock()
	for broker := range there {
		there[broker] = r.g.PeerThere(broker)
	}
	type refusal struct {
		onward
		err error
	}
	var late []refusal
	now := time.Now()
	r.mu.Lock()
	for id, o := range r.waiting {
		is, asked := there[o.broker]
		switch {
		case asked && !is:
			late = append(late, refusal{o, brokerGone(o.broker)})
		case now.After(o.until):
			late = append(late, refusal{o, protocol.ErrUnavailable.With(
				"broker %d does not answer; whether it took the request is not known: try again", o.broker)})
		default:
			continue
		}
		r.forgetLocked(id, o)
	}
	r.timer = nil
	if len(r.waiting) > 0 {
		r.armLocked()
	}
	r.mu.Unlock()
	for _, l := range late {
		r.refuse(l.onward, l.err)
	}
}

// inflight is what waits for other brokers.
func (r *relay) inflight() (requests, bytes int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range r.windows {
		for _, b := range []*budget{w.puts, w.reads, w.groups} {
			requests += b.requests.Load()
			bytes += b.bytes.Load()
		}
	}
	return requests, bytes
}

// close returns when all that was sent on is answered, or refused after a while. Nothing
// is sent on any more when it is called.
func (r *relay) close() error {
	if r.sub == nil {
		return nil
	}
	until := time.Now().Add(relayEnd)
	r.mu.Lock()
	for id, o := range r.waiting {
		if o.until.After(until) {
			o.until = until
			r.waiting[id] = o
		}
	}
	r.ending = true
	if len(r.waiting) == 0 {
		close(r.empty)
	}
	r.mu.Unlock()
	<-r.empty
	r.mu.Lock()
	if r.timer != nil && r.timer.Stop() {
		r.checks.Done()
		r.timer = nil
	}
	r.mu.Unlock()
	r.checks.Wait()
	if err := r.sub.Unsubscribe(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		return fmt.Errorf("leave the answers of other brokers: %w", err)
	}
	return nil
}
