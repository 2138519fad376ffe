package topic

import "metaq/protocol"

// topicCore decides when a topic's partitions get their epochs: the logs open
// first, then one claim takes the leadership of all of them, then each serves.
// It is pure.
type topicCore struct {
	parts    []topicPart
	claiming bool
	again    bool // all are to be claimed once more
	redoing  bool // the claim under way does so
	settled  bool // every partition serves, or has said why it does not
}

type topicPart struct {
	phase partPhase
	epoch protocol.Epoch // granted to it, 0 none yet
	floor protocol.Epoch // the newest one in its log
}

type partPhase uint8

const (
	partOpening partPhase = iota // has not reported yet
	partWaiting                  // has its log and waits for an epoch
	partServing
	partTrouble // cannot serve now; it opens again by itself or is damaged
)

// topicEffects is what the shell does next.
type topicEffects struct {
	claim   []protocol.Epoch // floors, when not nil: claim epochs above them
	grant   []int            // partitions to send their epoch to
	settled bool             // tell the topics actor
}

// grow adds partitions, up to n.
func (c *topicCore) grow(n int) {
	for len(c.parts) < n {
		c.parts = append(c.parts, topicPart{})
		c.settled = false
	}
}

// opened: partition n has its log.
func (c *topicCore) opened(n int, floor protocol.Epoch) topicEffects {
	p := &c.parts[n]
	p.floor = floor
	if p.epoch > 0 && p.epoch >= floor {
		// It was opened again, and nobody else has led it meanwhile.
		return topicEffects{grant: []int{n}}
	}
	p.phase = partWaiting
	return c.next()
}

// reclaim: the registry has lost what it knew of the epochs. The partitions go on
// under theirs until they get higher ones.
func (c *topicCore) reclaim() topicEffects {
	c.again = true
	return c.next()
}

// serving: partition n takes requests.
func (c *topicCore) serving(n int) topicEffects {
	c.parts[n].phase = partServing
	return c.next()
}

// trouble: partition n cannot take requests now.
func (c *topicCore) trouble(n int) topicEffects {
	c.parts[n].phase = partTrouble
	return c.next()
}

// claimed takes the epochs that a claim returned; nil when it failed, and the
// shell calls next after a while. The claim may be older than the newest
// partitions, which then make another.
func (c *topicCore) claimed(epochs []protocol.Epoch) topicEffects {
	c.claiming = false
	if epochs == nil {
		c.again = c.again || c.redoing
		return topicEffects{}
	}
	fx := topicEffects{}
	for n, e := range epochs {
		p := &c.parts[n]
		p.epoch = max(p.epoch, e)
		if p.epoch < p.floor {
			continue // its log opened meanwhile and knows a newer one
		}
		if p.phase == partWaiting {
			p.phase = partOpening // until it says that it serves
		}
		fx.grant = append(fx.grant, n)
	}
	after := c.next()
	fx.claim, fx.settled = after.claim, after.settled
	return fx
}

// next claims when somebody waits for an epoch and nobody is still opening, so
// that one claim does for all.
func (c *topicCore) next() topicEffects {
	waits, settled := false, true
	for _, p := range c.parts {
		switch p.phase {
		case partOpening:
			return topicEffects{}
		case partWaiting:
			waits, settled = true, false
		}
	}
	fx := topicEffects{}
	if (waits || c.again) && !c.claiming {
		c.claiming, c.redoing, c.again = true, c.again, false
		fx.claim = make([]protocol.Epoch, len(c.parts))
		for n, p := range c.parts {
			fx.claim[n] = max(p.floor, p.epoch)
		}
	}
	if settled && !c.settled {
		c.settled, fx.settled = true, true
	}
	return fx
}
