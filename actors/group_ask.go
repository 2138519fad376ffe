package actors

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"

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
		system.Root.RequestWithCustomSender(leader, &Offsets{Request: request}, pid)
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
				out[i].err = errNoEnds
			}
			continue
		}
		select {
		case a := <-box.answers:
			out[i] = asEnds(a)
		case <-over.C:
			late = true
			out[i].err = errNoEnds
		}
	}
	return out
}

var errNoEnds error = protocol.ErrUnavailable.With("the partition's leader did not answer in time")

func asEnds(answer any) ends {
	switch a := answer.(type) {
	case protocol.OffsetsReply:
		return ends{reply: a}
	case error:
		return ends{err: a}
	default:
		return ends{err: errGone}
	}
}

// placeOf finds the offset of a place in a log. What is to be the end of the log is, when
// since is not zero, the first message from then on.
func placeOf(p protocol.GroupPlace, since time.Time, r protocol.OffsetsReply) protocol.Offset {
	end := r.EndOffset
	if !since.IsZero() {
		end = r.Offset
	}
	switch p.At {
	case protocol.StartLatest:
		return end
	case protocol.StartOffset:
		// What is above the end of then means that end, though the log may have reached it by now.
		return max(min(p.Offset, end), r.LogStart)
	case protocol.StartTime:
		return r.Offset
	default:
		return r.LogStart
	}
}

// labelledPlaceOf is placeOf with the epoch of the record before it. A place without one that
// waits for the next look at the log is, should the log be cut before, taken for one in what
// the log gets afterwards.
func labelledPlaceOf(p protocol.GroupPlace, since time.Time, r protocol.OffsetsReply) place {
	offset, log := placeOf(p, since, r), r.Lineage()
	return place{offset, log.EpochBefore(offset)}
}

// requestFor is what to ask a leader to find a place, and its epoch.
func requestFor(p protocol.GroupPlace, since time.Time) protocol.OffsetsRequest {
	switch {
	case p.At == protocol.StartTime:
		return protocol.OffsetsRequest{Time: p.Time, Epochs: true}
	case !since.IsZero():
		return protocol.OffsetsRequest{Time: &since, Epochs: true}
	default:
		return lineageRequest
	}
}
