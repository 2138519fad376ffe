package produce

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"metaq/client/internal/link"
	"metaq/protocol"
)

// batchSlack is what a batch leaves of the connection's largest message, in
// bytes: the broker hands it out again behind a header of its own.
const batchSlack = 1024

// refreshPause is the shortest time between two rounds of asking for topics.
const refreshPause = 250 * time.Millisecond

// topic is a topic that a producer uses.
type topic struct {
	p    *Engine
	name string
	turn atomic.Uint32 // index in list of the partition for records without a key
	// list is the whole partition list, sorted; nil until it is known, and again
	// once the topic was deleted.
	list  atomic.Pointer[[]*partition]
	stale atomic.Bool // ask for the list at once

	mu    sync.Mutex
	parts map[protocol.PartitionID]*partition // guarded by mu; every partition ever seen
	find  *finding                            // guarded by mu; the lookup under way
}

// finding is a lookup that others may wait for.
type finding struct {
	done chan struct{} // closed at its end
	err  error         // to be read after done
	last atomic.Pointer[error]
}

// lookup returns the topic and its partitions. It asks the broker when they are
// not known; then it waits for them until ctx ends, at most the delivery timeout.
func (p *Engine) lookup(ctx context.Context, name string) (*topic, []*partition, error) {
	// Most producers send to one topic; the map costs a tenth of a small record.
	if t := p.recent.Load(); t != nil && t.name == name {
		if list := t.list.Load(); list != nil {
			return t, *list, nil
		}
	}
	if v, ok := p.topics.Load(name); ok {
		if t, ok := v.(*topic); ok {
			if list := t.list.Load(); list != nil {
				p.recent.Store(t)
				return t, *list, nil
			}
		}
	}
	if err := link.CheckTopic(name); err != nil {
		return nil, nil, err
	}
	t := &topic{p: p, name: name, parts: make(map[protocol.PartitionID]*partition)}
	t.turn.Store(rand.Uint32N(1 << 16))
	if v, loaded := p.topics.LoadOrStore(name, t); loaded {
		if known, ok := v.(*topic); ok {
			t = known
		}
	}
	f := t.startFinding()
	if f == nil {
		return nil, nil, fmt.Errorf("send to %s: the producer is %w", name, link.ErrClosed)
	}
	select {
	case <-f.done:
	case <-ctx.Done():
		if last := f.last.Load(); last != nil {
			return nil, nil, fmt.Errorf("look up topic %s: %w: %w", name, *last, ctx.Err())
		}
		return nil, nil, fmt.Errorf("look up topic %s at %s: %w", name, p.c.Link.Servers(), ctx.Err())
	}
	if f.err != nil {
		return nil, nil, f.err
	}
	list := t.list.Load()
	if list == nil { // deleted again in this moment
		return nil, nil, fmt.Errorf("look up topic %s: %w", name, protocol.ErrNoTopic)
	}
	return t, *list, nil
}

// startFinding returns the lookup under way, or starts one; nil when closed.
func (t *topic) startFinding() *finding {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.find != nil {
		return t.find
	}
	f := &finding{done: make(chan struct{})}
	t.find = f
	if !t.p.start(func() { t.runFinding(f) }) {
		t.find = nil
		return nil
	}
	return f
}

// runFinding asks for the topic until it is told, refused for good, or the
// delivery timeout is over.
func (t *topic) runFinding(f *finding) {
	ctx, cancel := context.WithTimeout(t.p.asking, t.p.o.DeliveryTimeout)
	defer cancel()
	var err error
	for attempt := 0; ; attempt++ {
		if err = t.ask(ctx, true); err == nil || !link.Retriable(err) {
			break
		}
		last := err // a copy: err changes with the next attempt
		f.last.Store(&last)
		if link.Pause(ctx, link.Backoff(attempt)) != nil {
			break
		}
	}
	if err != nil && t.p.asking.Err() != nil {
		err = fmt.Errorf("look up topic %s: the producer is %w", t.name, link.ErrClosed)
	}
	f.err = err
	t.mu.Lock()
	t.find = nil
	t.mu.Unlock()
	close(f.done)
}

// ask asks the broker once for the topic's partitions. use says that a record is
// waiting, so that the broker may create the topic.
func (t *topic) ask(ctx context.Context, use bool) error {
	ctx, cancel := context.WithTimeout(ctx, link.RequestTimeout)
	defer cancel()
	c := t.p.c
	if t.p.limits.Load() == nil {
		if err := t.p.askLimits(ctx); err != nil {
			return err
		}
	}
	if t.p.id.Load() == 0 {
		if err := t.p.askID(ctx); err != nil {
			return err
		}
	}
	info, err := c.TopicInfo(ctx, t.name, use)
	if err == nil && len(info.Partitions) == 0 {
		err = protocol.ErrUnavailable.With("topic %s has no partition yet", t.name)
	}
	if errors.Is(err, protocol.ErrNoTopic) {
		t.gone()
	}
	if err != nil {
		return fmt.Errorf("look up topic %s: %w", t.name, err)
	}
	t.learn(info.Partitions)
	return nil
}

// askLimits learns how large a message and a batch may be.
func (p *Engine) askLimits(ctx context.Context) error {
	b, err := p.c.BrokerInfo(ctx)
	if err != nil {
		return err
	}
	payload := min(p.c.Link.MaxPayload(), protocol.MaxBatchSize)
	if b.MaxPayload > 0 {
		payload = int(min(int64(payload), b.MaxPayload))
	}
	l := limits{message: payload, batch: max(payload-batchSlack, payload/2)}
	if b.MaxMessage > 0 {
		l.message = b.MaxMessage
	}
	p.limits.Store(&l)
	return nil
}

// askID learns who the producer is. A broker from before ids were granted has no
// answer; then the producer draws one, from those that are never granted.
func (p *Engine) askID(ctx context.Context) error {
	id, err := p.grantedID(ctx)
	if errors.Is(err, link.ErrUnserved) {
		id, err = drawnIDs|rand.Int64(), nil
	}
	if err != nil {
		return fmt.Errorf("ask for a producer id: %w", err)
	}
	p.id.CompareAndSwap(0, id) // two topics may be looked up at once
	return nil
}

// drawnIDs is the bit that only drawn ids have.
const drawnIDs = 1 << 62

// grantedID asks for an id that no other producer has.
func (p *Engine) grantedID(ctx context.Context) (int64, error) {
	var grant protocol.ProducerGrant
	if err := p.c.Call(ctx, p.c.Subjects.Admin("producer", "id"), struct{}{}, &grant); err != nil {
		return 0, err
	}
	if grant.Producer <= 0 {
		return 0, protocol.ErrUnavailable.With("the broker granted the producer id %d", grant.Producer)
	}
	return grant.Producer, nil
}

// learn takes over the partition list of an answer.
func (t *topic) learn(infos []protocol.PartitionInfo) {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]*partition, 0, len(infos))
	for i := range infos {
		id := infos[i].Partition
		q := t.parts[id]
		if q == nil {
			q = newPartition(t, id)
			t.parts[id] = q
		}
		q.absent.Store(infos[i].Leader < 0)
		q.gone.Store(nil)
		list = append(list, q)
	}
	// PartitionOf counts on the order; do not trust the other side with it.
	slices.SortFunc(list, func(a, b *partition) int { return a.id.Compare(b.id) })
	for _, q := range t.parts {
		if !slices.Contains(list, q) {
			q.drop(protocol.ErrNoPartition.With("topic %s has no partition %s", t.name, q.id))
		}
	}
	t.list.Store(&list)
}

// gone notes that the topic was deleted: what waits for it fails, and its next
// use looks it up again.
func (t *topic) gone() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.list.Store(nil)
	for _, q := range t.parts {
		q.drop(protocol.ErrNoTopic.With("topic %s was deleted", t.name))
	}
}

// all returns every partition that the producer has used.
func (t *topic) all() []*partition {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]*partition, 0, len(t.parts))
	for _, q := range t.parts {
		out = append(out, q)
	}
	return out
}

// refreshSoon has the topic asked for at once.
func (t *topic) refreshSoon() {
	t.stale.Store(true)
	select {
	case t.p.stale <- struct{}{}:
	default:
	}
}

// refreshLoop asks for the topics in use: all from time to time, and those with
// trouble at once, but not without a pause.
func (p *Engine) refreshLoop() {
	tick := time.NewTicker(p.o.Refresh)
	defer tick.Stop()
	for {
		all := false
		select {
		case <-p.asking.Done():
			return
		case <-tick.C:
			all = true
		case <-p.stale:
		}
		p.refreshTopics(all)
		if link.Pause(p.asking, refreshPause) != nil {
			return
		}
	}
}

func (p *Engine) refreshTopics(all bool) {
	if all {
		if err := p.askLimits(p.asking); err != nil && p.asking.Err() == nil {
			p.log.Debug("limits not refreshed", "err", err)
		}
	}
	p.topics.Range(func(_, v any) bool {
		t, ok := v.(*topic)
		if !ok || t.list.Load() == nil || !t.stale.Swap(false) && !all {
			return true
		}
		if err := t.ask(p.asking, false); err != nil && p.asking.Err() == nil {
			p.log.Debug("topic not refreshed", "topic", t.name, "err", err)
		}
		return true
	})
}
