package transport

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"

	"metaq/actors"
	"metaq/protocol"
	"metaq/transport/front"
)

// Topics that listen: publishers that know nothing of the broker publish as ever,
// and what goes to a topic's subjects is stored in the topic as if it had been put
// to <prefix>.put.<topic>, with the subject in a header. The front hands over what the
// broker's own clients publish there as <prefix>.heard.<subject>, so that each message comes
// to one broker, which can hold who sends too fast. With an existing NATS deployment the
// brokers listen as one queue group.

// opHeard is the operation of what the front hands over.
const opHeard = "heard"

// hearing is a subscription to one of a topic's filters.
type hearing struct {
	topic    string
	keyToken int
	sub      *nats.Subscription // nil: the front brings what goes there
}

// listeners are the subscriptions of all topics. Gateway.subsMu guards them.
type listeners struct {
	on       bool                // between Start and Drain
	byFilter map[string]*hearing // no two topics have the same filter
	find     *front.Filters[hearing]
}

// listen makes the subscriptions those of r. When Publish returns, what is
// answered afterwards reaches a client after the subscription has taken effect:
// both go through one connection.
func (g *Gateway) listen(r *actors.Routes) {
	g.subsMu.Lock()
	defer g.subsMu.Unlock()
	if !g.listeners.on {
		return // Start takes the newest routes
	}
	if err := g.listenLocked(r); err != nil {
		g.opts.Fail(err) // the connection was closed for good
	}
}

func (g *Gateway) listenLocked(r *actors.Routes) error {
	l := &g.listeners
	l.on = true
	wanted := make(map[string]*actors.TopicRoute)
	for _, topic := range r.Topics {
		for _, filter := range topic.Subjects {
			wanted[filter] = topic
		}
	}
	for filter, h := range l.byFilter {
		if wanted[filter] != nil {
			continue
		}
		delete(l.byFilter, filter)
		if h.sub == nil {
			continue
		}
		// Drain, not Unsubscribe: the latter drops what is on its way to us.
		if err := h.sub.Drain(); err != nil {
			g.log.Warn("subject not left", "subject", filter, "err", err)
		}
	}
	for filter, topic := range wanted {
		if h := l.byFilter[filter]; h != nil {
			h.topic, h.keyToken = topic.Name, topic.KeyToken
			continue
		}
		var sub *nats.Subscription
		if g.opts.Front == nil {
			var err error
			if sub, err = g.nc.ChanQueueSubscribe(filter, strings.TrimSuffix(g.prefix, "."), g.incoming); err != nil {
				return fmt.Errorf("subscribe to %s for topic %s: %w", filter, topic.Name, err)
			}
		}
		if l.byFilter == nil {
			l.byFilter = make(map[string]*hearing)
		}
		l.byFilter[filter] = &hearing{topic.Name, topic.KeyToken, sub}
	}
	l.find = new(front.Filters[hearing])
	for filter, h := range l.byFilter {
		l.find.Add(filter, *h)
	}
	if g.opts.Front != nil {
		g.opts.Front.Hear(slices.Collect(maps.Keys(l.byFilter)))
	}
	return nil
}

// targetOf says what a message asks for. Most ask for the same as the one before.
func (g *Gateway) targetOf(m *nats.Msg) (t target, err error) {
	if m.Subject == g.last.subject {
		return g.last.target, nil
	}
	if g.sentOn(m) {
		t, err = parseTarget(g.node, m.Subject)
		t.sentOn = true
		m.Header = unpacked(m.Header)
		return t, err
	}
	if subject, is := strings.CutPrefix(m.Subject, g.heardAs); is {
		switch { // before the subject changes: its length tells of headers that were not read
		case malformed(m):
			m.Header = nats.Header{front.Malformed: m.Header[front.Malformed]}
		case m.Header == nil:
			m.Header = make(nats.Header, 2)
		}
		m.Subject = subject
		return g.heard(m)
	}
	if strings.HasPrefix(m.Subject, g.prefix) {
		if t, err = parseTarget(g.prefix, m.Subject); err == nil {
			g.last.subject, g.last.target = m.Subject, t
		}
		return t, err
	}
	return g.heard(m)
}

// heard makes a put of a message that was published to a topic's own subject.
func (g *Gateway) heard(m *nats.Msg) (target, error) {
	t := target{op: protocol.OpPut, heard: true}
	g.subsMu.Lock()
	find := g.listeners.find
	g.subsMu.Unlock()
	by := find.Find([]byte(m.Subject)) // no two topics have filters that overlap
	if by == nil {
		return t, protocol.ErrNoTopic.With("no topic listens to %s any more", m.Subject)
	}
	t.topic = by.topic
	if m.Header == nil {
		if headerSize(m) > 0 {
			return t, nil // malformed: the put refuses it
		}
		m.Header = make(nats.Header, 2)
	}
	if came := m.Header[protocol.HeaderSubject]; len(came) > 0 && !slices.Equal(came, []string{m.Subject}) {
		name := protocol.OriginalPrefix + protocol.HeaderSubject
		m.Header[name] = append(m.Header[name], came...)
	}
	m.Header[protocol.HeaderSubject] = []string{m.Subject}
	if len(m.Header[protocol.HeaderKey]) == 0 && by.keyToken > 0 {
		if key, ok := protocol.SubjectToken(m.Subject, by.keyToken); ok {
			m.Header[protocol.HeaderKey] = []string{key}
		}
	}
	return t, nil
}
