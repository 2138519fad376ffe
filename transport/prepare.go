package transport

import (
	"runtime"
	"strings"

	"github.com/nats-io/nats.go"

	"metaq/protocol"
	"metaq/transport/front"
)

// What costs more than a look is done before a request reaches the dispatcher, which serves
// everybody: on the goroutine of the connection that sent it, so that each client pays for
// its own. A batch of 3 KB may be a million records.

// prepared is what is known of a request before the dispatcher sees it.
type prepared struct {
	header protocol.BatchHeader // of a batch that was checked
	record protocol.Record      // of a put
	err    error                // the refusal
}

// manyNames is from how many header names on a put's record is made beforehand, since they
// have to be sorted.
const manyNames = 8

// Dear batches are those that grow by more than dearFactor, and to more than dearSize: for
// all others the time of a check follows from the bytes that were sent.
const (
	dearFactor = 16
	dearSize   = 64 << 10
)

// dear reports whether the check of a batch may cost much more than its bytes.
func dear(b []byte) bool {
	h, err := protocol.ParseBatchHeader(b)
	return err == nil && h.RawLen > max(dearSize, dearFactor*len(b))
}

// grown returns the bytes that a batch counts as: what it says that it grows to.
func grown(b []byte) int {
	if h, err := protocol.ParseBatchHeader(b); err == nil {
		return max(len(b), h.RawLen)
	}
	return len(b)
}

// checkers is how many dear batches are decompressed at a time, so that neither their memory
// nor the processors that they take add up.
func checkers() int { return max(1, runtime.GOMAXPROCS(0)/2) }

// prepare is called on the goroutine of a client's connection.
func (g *Gateway) prepare(all *front.Requests) {
	for i := range all.All() {
		m := &all.All()[i]
		switch {
		case len(m.Header) > manyNames && strings.HasPrefix(m.Subject, g.putsTo):
			p := &prepared{}
			p.record, p.err = recordOf(&m.Msg)
			m.Prepared = p
		case strings.HasPrefix(m.Subject, g.batchesTo):
			if p := g.checkSent(m.Subject, m.Data); p != nil {
				m.Prepared = p
			}
		}
	}
}

// checkSent checks the batch of a client; nil means that the dispatcher has something against
// it without that.
func (g *Gateway) checkSent(subject string, b []byte) *prepared {
	t, err := parseTarget(g.prefix, subject)
	if err != nil || len(b) > g.batchLimit() {
		return nil
	}
	if dear(b) {
		select {
		case g.checking <- struct{}{}:
			defer func() { <-g.checking }()
		case <-g.leaving:
			return &prepared{err: stopping}
		}
	}
	p := &prepared{}
	p.header, p.err = checkBatch(b, g.batchLimit()*maxRawFactor, g.opts.MaxMessage(t.topic))
	return p
}

// batchLimit is the largest batch: it must fit a get's answer.
func (g *Gateway) batchLimit() int { return int(g.payload.Load()) - protocol.FetchHeaderSize }

var stopping = protocol.ErrUnavailable.With("the broker is stopping: try another one, or later")

// checkQueue is what NATS brought for a topic behind a dear batch that is being checked, that
// one first. What it brings to the dispatcher has no connection that could pay for it.
type checkQueue struct {
	account *account // what waits is in flight too
	all     []*nats.Msg
	sizes   []int
}

// manyChecked is how many topics may have such a queue.
const manyChecked = 64

// checkedBatch is the result of a check for a topic.
type checkedBatch struct {
	topic string
	prepared
}

// checkAside lets a dear batch be checked, and what follows it for its topic wait: messages of
// one connection stay in their order.
func (g *Gateway) checkAside(topic string, m *nats.Msg) error {
	if len(g.asides) == manyChecked {
		return protocol.ErrBusy.With("batches for %d topics are being checked: back off and try again", manyChecked)
	}
	q := &checkQueue{account: newAccount(g.puts, g.opts.Partition)}
	if err := q.add(m); err != nil {
		return err
	}
	g.asides[topic] = q
	g.checkFirst(topic, q)
	return nil
}

// add lets m wait, or refuses it. A batch counts as what it grows to.
func (q *checkQueue) add(m *nats.Msg) error {
	size := max(m.Size(), grown(m.Data))
	if err := q.account.admit(1, size); err != nil {
		return err
	}
	q.all, q.sizes = append(q.all, m), append(q.sizes, size)
	return nil
}

// checkFirst checks the first of a queue. The result has room in the channel.
func (g *Gateway) checkFirst(topic string, q *checkQueue) {
	b := q.all[0].Data
	go func() {
		g.checking <- struct{}{}
		defer func() { <-g.checking }()
		c := checkedBatch{topic: topic}
		c.header, c.err = checkBatch(b, g.batchLimit()*maxRawFactor, g.opts.MaxMessage(topic))
		g.checked <- c
	}()
}

// checkDone serves a queue up to the next dear batch in it.
func (g *Gateway) checkDone(c checkedBatch) {
	q := g.asides[c.topic]
	delete(g.asides, c.topic) // what it holds does not wait for itself
	g.prepared = &c.prepared
	for {
		m, size := q.all[0], q.sizes[0]
		q.all[0] = nil
		q.all, q.sizes = q.all[1:], q.sizes[1:]
		q.account.Release(1, size)
		t, err := g.targetOf(m)
		if err == nil {
			err = g.serve(&t, m)
		}
		if err != nil {
			g.refuse(m, err)
		}
		g.prepared = nil
		if len(q.all) == 0 {
			return
		}
		if t, err := g.targetOf(q.all[0]); err == nil && t.op == protocol.OpBatch && dear(q.all[0].Data) {
			g.asides[c.topic] = q
			g.checkFirst(c.topic, q)
			return
		}
	}
}

// waitsAside reports whether m, which NATS brought, has to wait behind a batch that is checked.
func (g *Gateway) waitsAside(t *target, m *nats.Msg) *checkQueue {
	if len(g.asides) == 0 || m.Sub == nil || t.op != protocol.OpPut && t.op != protocol.OpBatch {
		return nil
	}
	return g.asides[t.topic]
}
