package system

import "errors"

// brokerStep is one step of a broker's start or stop. The order of the constants
// is the order of the steps.
type brokerStep uint8

const (
	stepRegister  brokerStep = iota // announce the broker, not ready yet
	stepTopics                      // open the topics
	stepGateway                     // take requests
	stepAnnounce                    // say that the broker is ready
	stepServing                     // nothing to do until somebody says stop
	stepLeave                       // take the announcement back
	stepDrain                       // take no more requests
	stepEndTopics                   // commit what is held, close the logs
	stepCloseRegistry
	stepCloseGateway // send the last answers
	stepOver
)

// String names the step in errors.
func (s brokerStep) String() string {
	return [...]string{
		"register the broker", "open the topics", "start the gateway", "announce the broker", "serve",
		"leave the registry", "drain the gateway", "close the topics", "close the registry", "close the gateway", "end",
	}[s]
}

// brokerCore orders start and stop. It is pure.
type brokerCore struct {
	step    brokerStep
	gateway bool // it has started
	stopped bool // somebody said stop, or a step failed
	err     error
}

// done takes the result of the present step and returns the next one. A start
// that fails or is stopped goes on with the steps that undo it.
func (c *brokerCore) done(err error) brokerStep {
	if err != nil {
		c.err = errors.Join(c.err, err)
		c.stopped = true
	}
	if c.step == stepGateway && err == nil {
		c.gateway = true
	}
	if c.step < stepServing && c.stopped {
		c.step = stepLeave
		return c.step
	}
	c.step++
	if !c.gateway && (c.step == stepDrain || c.step == stepCloseGateway) {
		c.step++
	}
	return c.step
}

// stop asks for the end, because of err when that is not nil. It returns whether
// the end begins now with the step returned; else it begins when the present
// step is done. The topics are not waited for: they may open for ever.
func (c *brokerCore) stop(err error) (brokerStep, bool) {
	if err != nil {
		c.err = errors.Join(c.err, err)
	}
	c.stopped = true
	if c.step != stepServing && c.step != stepTopics {
		return c.step, false
	}
	c.step = stepLeave
	return c.step, true
}
