package group

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"metaq/actors"
	"metaq/actors/group/core"
	"metaq/protocol"
)

// ends is what a partition's leader said about its log.
type ends struct {
	reply protocol.OffsetsReply
	err   error
}

// answerBox is a process that keeps the first answer to one request. The
// library's futures cannot take an answer that comes while they time out.
type answerBox struct{ answers chan any }

// SendUserMessage implements actor.Process.
func (b *answerBox) SendUserMessage(_ *actor.PID, message any) {
	select {
	case b.answers <- actor.UnwrapEnvelopeMessage(message):
	default: // a second answer
	}
}

// SendSystemMessage implements actor.Process.
func (b *answerBox) SendSystemMessage(*actor.PID, any) {}

// Stop implements actor.Process.
func (b *answerBox) Stop(*actor.PID) {}

// askOffsets asks the leaders of partitions, which may be other brokers', for
// their ends and for what request says; leaders may have nils. It blocks until
// all have answered or the timeout is over: call it on a worker.
func askOffsets(system *actor.ActorSystem, leaders []*actor.PID, request protocol.OffsetsRequest, timeout time.Duration) []ends {
	boxes := make([]*answerBox, len(leaders))
	out := make([]ends, len(leaders))
	for i, leader := range leaders {
		if leader == nil {
			out[i].err = protocol.ErrUnavailable.With("the partition has no leader now")
			continue
		}
		boxes[i] = &answerBox{answers: make(chan any, 1)}
		pid, _ := system.ProcessRegistry.Add(boxes[i], system.ProcessRegistry.NextId())
		defer system.ProcessRegistry.Remove(pid)
		system.Root.RequestWithCustomSender(leader, &actors.Offsets{Request: request}, pid)
	}
	over := time.NewTimer(timeout)
	defer over.Stop()
	late := false
	for i, box := range boxes {
		if box == nil {
			continue
		}
		if late {
			select {
			case a := <-box.answers:
				out[i] = asEnds(a)
			default:
				out[i].err = core.ErrNoEnds
			}
			continue
		}
		select {
		case a := <-box.answers:
			out[i] = asEnds(a)
		case <-over.C:
			late = true
			out[i].err = core.ErrNoEnds
		}
	}
	return out
}

func asEnds(answer any) ends {
	switch a := answer.(type) {
	case protocol.OffsetsReply:
		return ends{reply: a}
	case error:
		return ends{err: a}
	default:
		return ends{err: actors.ErrGone}
	}
}
