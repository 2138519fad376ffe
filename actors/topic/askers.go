package topic

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"metaq/actors"
	"metaq/protocol"
)

// Whoever asks for a topic to be created, changed or deleted, or waits for one that a put
// creates, is answered within Options.AnswerTimeout, whatever the registry and the disks
// do: with the result, or with what is known of it by then.

// askerDue comes when somebody has waited long enough for a topic.
type askerDue struct {
	actors.IgnoreDeadLetter
	entry *topicEntry
	asker *actor.PID
}

// registryMargin is how much earlier a call of a shared registry ends than the wait for
// its result: the answer then says whether the change can still happen.
const registryMargin = 500 * time.Millisecond

// waits adds an asker to a topic's, and sets its time.
func (t *topics) waits(ctx actor.Context, e *topicEntry, asker *actor.PID) {
	if asker == nil {
		return
	}
	e.askers = append(e.askers, asker)
	t.env.Later(t.env.Options.AnswerTimeout, ctx.Self(), askerDue{entry: e, asker: asker})
}

// due answers an asker that still waits.
func (t *topics) due(ctx actor.Context, m askerDue) {
	e := m.entry
	if !takeOut(&e.askers, m.asker) && !takeOut(&e.announced, m.asker) {
		return
	}
	name, after := e.topic.Name, t.env.Options.AnswerTimeout
	unknown := func(what string) {
		t.env.Refuse(ctx, m.asker, protocol.ErrUnavailable.With(
			"topic %q is not %s after %s: it may still be carried out: look with metaq topic info %s", name, what, after, name))
	}
	switch e.phase {
	case topicCreating:
		unknown("created")
	case topicChanging:
		unknown("changed")
	case topicDeleting:
		unknown("deleted")
	case topicStopping:
		t.env.Refuse(ctx, m.asker, errStopping)
	case topicInstalling, topicReady:
		// It is done: the answer shows which partitions do not serve yet, and why.
		info := e.info()
		if t.env.deps.Cluster != nil {
			info = t.core.gatherTopic(info, nil, t.env.Home)
		}
		actors.Respond(ctx, m.asker, info)
	}
}

// takeOut removes one of an asker's places in a list, and reports whether it had one.
func takeOut(list *[]*actor.PID, asker *actor.PID) bool {
	i := slices.Index(*list, asker)
	if i >= 0 {
		*list = slices.Delete(*list, i, i+1)
	}
	return i >= 0
}

// alter asks the registry for a change that somebody waits for. A local registry has as
// long as any call: its writes cannot be recalled, and nobody but this broker would see one
// that comes late.
func (t *topics) alter(ctx actor.Context, do func(context.Context, actors.Registry) any) {
	call := actors.RegistryCall{To: ctx.Self(), Do: do, Heard: t.heard}
	if t.env.deps.Cluster != nil {
		call.Within = max(t.env.Options.AnswerTimeout-registryMargin, time.Millisecond)
	}
	ctx.Send(t.cluster, call)
}

// unchanged turns the error of a change into an answer that says whether the change may
// still be carried out.
func unchanged(topic string, err error) error {
	e := protocol.AsError(err)
	if e.Code != protocol.ErrUnavailable.Code {
		return err
	}
	return e.With("topic %q: %s: %s", topic, e.Description, prospect(err, "look with metaq topic info "+topic))
}

// prospect says what can still become of a change that failed with err, and what to do.
func prospect(err error, look string) string {
	if errors.Is(err, actors.ErrOutcomeUnknown) {
		return "it may still be carried out: " + look
	}
	return "nothing was changed, and this request will not be carried out: try again"
}
