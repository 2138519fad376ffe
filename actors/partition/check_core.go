package partition

import (
	"cmp"

	"metaq/actors"
	"metaq/protocol"
)

// The part of core that judges a put's Check.

// lastID is the id of a partition's last message.
type lastID struct {
	known bool   // false: the log has not been asked
	id    string // "" when the message has none
}

const defaultMaxMessageIDs = 1_000_000

func (c *core) configureIDs(s actors.Settings) {
	c.window, c.maxIDs = s.DuplicateWindow, cmp.Or(s.MaxMessageIDs, defaultMaxMessageIDs)
	switch {
	case c.ids == nil:
	case c.window == 0:
		c.dropIDs()
	case c.window > c.ids.window:
		c.dropIDs() // what the shorter window has forgotten is in the log
	default:
		c.ids.window, c.ids.limit = c.window, c.maxIDs
	}
}

// dropIDs forgets all ids; they are in the log.
func (c *core) dropIDs() {
	if c.ids != nil {
		c.ids.release()
		c.ids = nil
	}
}

// forgetIDs gives up the ids that are older than the window.
func (c *core) forgetIDs(now int64) {
	if c.ids != nil {
		c.ids.shrink(now)
	}
}

// mustReadIDs says whether learnIDs has to come before putChecked.
func (c *core) mustReadIDs(k *actors.Check) bool {
	return c.state == serving &&
		(k.ID != "" && c.window > 0 && c.ids == nil || k.LastID != "" && !c.last.known)
}

// learnIDs takes what readMessageIDs read below the written end. Nothing was put
// meanwhile.
func (c *core) learnIDs(ids *messageIDs, last string) {
	if c.window > 0 {
		c.dropIDs()
		c.ids = ids
		ids.attach(c.idBudget)
		ids.window, ids.limit = c.window, c.maxIDs
	}
	if !c.last.known {
		c.last = lastID{known: true, id: last}
		c.lastWas = c.last
	}
}

// putChecked accepts one message if what it asks for holds. A duplicate is
// recognised first, so that a message that is sent again is answered as it was
// the first time, whatever it expects. now is as Deps.Elapsed tells.
func (c *core) putChecked(one []actors.Put, memory actors.Memory, now int64) verdict {
	k, w := one[0].Check, waiting{puts: one, memory: memory, first: c.next}
	if refusal := c.refusesPuts(); refusal != nil {
		return verdict{err: refusal, w: w}
	}
	if k.Stream != "" && k.Stream != protocol.StreamName(c.topic, c.id) {
		return verdict{err: protocol.ErrStreamDiffers, w: w}
	}
	var id messageID
	remember := k.ID != "" && c.ids != nil
	if remember {
		id = messageIDOf(k.ID)
		if first, duplicate := c.ids.find(id, now); duplicate {
			w.first, w.duplicate = first, true
			return c.again(w)
		}
	}
	if k.LastSequence != nil && *k.LastSequence != uint64(c.next) {
		return verdict{err: protocol.ErrWrongSequence.With("wrong last sequence: %d", c.next), w: w}
	}
	if k.LastID != "" && k.LastID != c.last.id {
		return verdict{err: protocol.ErrWrongMsgID.With("wrong last msg ID: %s", c.last.id), w: w}
	}
	if remember && !c.ids.room() {
		return verdict{err: protocol.ErrBusy.With(
			"nothing was stored: this broker remembers %d message ids, no more fit: back off, leave out %s, shorten duplicateWindow, or raise maxBrokerMessageIds",
			c.ids.budget.used.Load(), protocol.HeaderMsgID), w: w}
	}
	if err := c.add(&one[0].Record); err != nil {
		return verdict{err: err, w: w}
	}
	c.last.id = k.ID
	if remember {
		c.ids.add(id, w.first, now)
	}
	return c.stage(w)
}
