package transport

import (
	"errors"

	"github.com/nats-io/nats.go"

	"metaq/actors"
	"metaq/protocol"
)

// Batch: <prefix>.batch.<topic>.<partition>, one encoded batch.
//
//	limits    the payload of NATS less the header of a get's answer; the body
//	          decompressed at most maxRawFactor times that; each record at most
//	          the topic's maxMessageSize, without protocol.Added; Options.Partition and Options.Total
//	400       name or partition not allowed; no batch, or a wrong version,
//	          length, checksum, count or record; bytes after the batch; a
//	          transactional or control batch; a header that a put must not have,
//	          or that means nothing in a batch
//	403, 404, 429, 503 as for a put
//	413       too large

// maxRawFactor bounds what a compressed batch may grow to, so that a small
// message cannot cost much memory.
const maxRawFactor = 4

// putBatch serves one batch. What a client sent was checked on its connection's goroutine,
// and what NATS brought is checked here, or aside when that costs much. A batch counts as
// what it grows to.
func (g *Gateway) putBatch(t *target, m *nats.Msg) error {
	if err := t.needPartition(); err != nil {
		return err
	}
	limit := g.batchLimit()
	if len(m.Data) > limit {
		return protocol.ErrTooLarge.With("batch has %d bytes, the limit is %d: send smaller batches", len(m.Data), limit)
	}
	if w := g.waiting[t.topic]; w != nil {
		return w.add(m, g.prepared)
	}
	if g.prepared == nil && dear(m.Data) {
		return g.checkAside(t.topic, m)
	}
	topic := g.topic(t.topic)
	if topic == nil {
		if !g.opts.AutoCreate {
			return g.noTopic(t.topic)
		}
		// What will be refused creates no topic.
		if _, err := g.headerOf(t, m); err != nil {
			return err
		}
		return g.create(t, m)
	}
	if !topic.route.AcceptPublish {
		return notAccepting(t.topic)
	}
	i, err := topic.find(t.partition)
	if err != nil {
		return err
	}
	account, size := topic.accounts[i], max(heldBy(m), grown(m.Data))
	if err := account.admit(1, size); err != nil {
		return err
	}
	h, err := g.headerOf(t, m)
	if err != nil {
		account.Release(1, size)
		return err
	}
	g.send(topic.route.Leaders[i], &actors.PutBatch{
		Batch: m.Data, Header: h, Ticket: actors.Ticket{From: account, Bytes: size}, Memory: g.takeMemory(),
	}, m)
	return nil
}

// headerOf returns the header of the batch in hand, which may have been checked before.
func (g *Gateway) headerOf(t *target, m *nats.Msg) (protocol.BatchHeader, error) {
	if p := g.prepared; p != nil {
		return p.header, p.err
	}
	return checkBatch(m.Data, g.batchLimit()*maxRawFactor, g.opts.MaxMessage(t.topic))
}

// checkBatch returns the header of the batch that b is, or the refusal.
func checkBatch(b []byte, maxRaw, maxMessage int) (protocol.BatchHeader, error) {
	h, err := protocol.CheckSent(b, maxRaw)
	var refused *protocol.Error
	switch {
	case errors.As(err, &refused):
		return h, refused
	case err != nil:
		return h, protocol.ErrBatchRefused.With("%s: send what section 9 of docs/protocol.md says", err)
	case h.Length != len(b):
		return h, protocol.ErrBatchRefused.With("%d bytes follow the batch of %d bytes: send one batch in a message", len(b)-h.Length, h.Length)
	case h.Transactional || h.Control:
		return h, protocol.ErrBatchRefused.With("transactional and control batches are not supported")
	case h.RawLen <= maxMessage:
		return h, nil // no record is larger than all of them
	}
	for r, err := range protocol.DecodeRecords(&h, b) {
		if err != nil {
			return h, errors.Join(protocol.ErrBatchRefused, err)
		}
		if size := recordSize(&r) - protocol.Added(r.Headers); size > maxMessage {
			return h, tooLarge("a message of the batch", size, maxMessage)
		}
	}
	return h, nil
}
