package transport

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"metaq/protocol"
)

const (
	// relayPatience is how long another broker has for its answer to what was sent on to
	// it: less than the five seconds after which NATS clients give up by themselves.
	relayPatience = 4 * time.Second
	// relayCheck is how often it is looked whether that broker is still there.
	relayCheck = 100 * time.Millisecond
	// relayEnd bounds the wait for answers when this broker stops.
	relayEnd = time.Second
)

// relay sends requests on to other brokers and their answers back, so that who asked is
// answered once whatever becomes of the other broker: NATS delivers at most once, and
// tells nobody of what was on its way to a broker that died.
//
// Its timer runs only while something waits.
type relay struct {
	g     *Gateway
	inbox string // subject of the answers, with its final dot
	sub   *nats.Subscription
	// budget is not that of the broker's own requests: one that waits for a frozen broker
	// takes nobody's place here.
	budget *budget

	mu      sync.Mutex // guards what follows; nothing is sent under it
	waiting map[uint64]onward
	last    uint64
	timer   *time.Timer // nil while nothing waits
	ending  bool
	empty   chan struct{} // closed at the end when nothing waits any more
	checks  sync.WaitGroup
}

// onward is a request that waits for another broker's answer.
type onward struct {
	reply  string // where the answer goes
	broker int
	until  time.Time
	size   int
}

func newRelay(g *Gateway, l Limits) *relay {
	return &relay{
		g: g, inbox: nats.NewInbox() + ".", budget: newBudget(l),
		waiting: make(map[uint64]onward), empty: make(chan struct{}),
	}
}

// start begins to take answers.
func (r *relay) start() error {
	var err error
	if r.sub, err = r.g.nc.Subscribe(r.inbox+"*", r.answered); err != nil {
		return fmt.Errorf("subscribe to other brokers' answers: %w", err)
	}
	return nil
}

// send sends m on to a broker's subject. wait is how long the broker may take beyond the
// time for an answer. The sender is answered, unless send returns an error.
func (r *relay) send(m *nats.Msg, subject string, broker int, wait time.Duration) error {
	on := &nats.Msg{Subject: subject, Header: m.Header, Data: m.Data}
	if m.Reply == "" {
		r.g.metrics.sentOn.Inc()
		return r.g.nc.PublishMsg(on)
	}
	o := onward{reply: m.Reply, broker: broker, until: time.Now().Add(relayPatience + wait), size: m.Size()}
	if !r.budget.take(int64(o.size)) {
		return brokerBusy
	}
	id := r.keep(o)
	on.Reply = r.inbox + strconv.FormatUint(id, 36)
	r.g.metrics.sentOn.Inc()
	if err := r.g.nc.PublishMsg(on); err != nil {
		if _, waits := r.take(id); waits {
			return protocol.ErrUnavailable.With("send on to broker %d: %v: try again", broker, err)
		}
	}
	return nil
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
	r.budget.release(int64(o.size))
	if r.ending && len(r.waiting) == 0 {
		close(r.empty)
	}
}

// answered passes an answer back; NATS answers itself when nobody listens any more.
func (r *relay) answered(m *nats.Msg) {
	id, err := strconv.ParseUint(m.Subject[len(r.inbox):], 36, 64)
	if err != nil {
		return // nobody but us knows the inbox
	}
	o, waits := r.take(id)
	switch {
	case !waits: // it was told that there is none
	case len(m.Data) == 0 && m.Header.Get("Status") == "503":
		r.g.refuseTo(o.reply, brokerGone(o.broker))
	default:
		r.g.publish(o.reply, frame(m.Data))
	}
}

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
		reply string
		err   error
	}
	var late []refusal
	now := time.Now()
	r.mu.Lock()
	for id, o := range r.waiting {
		is, asked := there[o.broker]
		switch {
		case asked && !is:
			late = append(late, refusal{o.reply, brokerGone(o.broker)})
		case now.After(o.until):
			late = append(late, refusal{o.reply, protocol.ErrUnavailable.With(
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
		r.g.refuseTo(l.reply, l.err)
	}
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
