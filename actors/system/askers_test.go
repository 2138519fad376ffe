package system

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"metaq/actors"
	"metaq/actors/actorstest"
	"metaq/protocol"
)

const soon = 20 * time.Millisecond // an AnswerTimeout that a test can wait for

func TestARequestIsAnsweredThoughAPartitionCannotBeMade(t *testing.T) {
	r, d := newRig(t)
	d.Options.AnswerTimeout = soon
	r.start(d)
	r.disk.Mu.Lock()
	r.disk.Blocked = make(chan struct{}) // the disk answers nobody
	r.disk.Mu.Unlock()
	for name, ask := range map[string]any{"made": actors.CreateTopic{Request: protocol.TopicCreate{Topic: "made"}}, "put": actors.AutoCreate{Topic: "put"}} {
		info, is := r.admin(ask).(protocol.TopicInfo)
		if !is || len(info.Partitions) != 2 || info.Partitions[0].Leader != -1 {
			t.Errorf("%s: %+v", name, info)
		}
	}
	close(r.disk.Blocked)
	r.wait("the partitions", func() bool {
		info, is := r.admin(actors.DescribeTopic{Topic: "made"}).(protocol.TopicInfo)
		return is && info.Partitions[0].Leader == 0 && info.Partitions[1].Leader == 0
	})
}

func TestARequestIsAnsweredThoughTheRegistryIsSlow(t *testing.T) {
	for _, c := range []struct {
		name string
		ask  any
		text string
		then func(r *rig) bool // what is there afterwards
	}{
		{"create", actors.CreateTopic{Request: protocol.TopicCreate{Topic: "n"}}, `topic "n" is not created after 20ms: it may still be carried out: look with metaq topic info n`, func(r *rig) bool {
			_, is := r.admin(actors.DescribeTopic{Topic: "n"}).(protocol.TopicInfo)
			return is
		}},
		{"put", actors.AutoCreate{Topic: "n"}, `topic "n" is not created after 20ms: it may still be carried out`, func(r *rig) bool {
			_, is := r.admin(actors.DescribeTopic{Topic: "n"}).(protocol.TopicInfo)
			return is
		}},
		{"set", actors.SetTopic{Request: protocol.TopicSet{Topic: "t", Partitions: 3}}, `topic "t" is not changed after 20ms: it may still be carried out: look with metaq topic info t`, func(r *rig) bool {
			info, is := r.admin(actors.DescribeTopic{Topic: "t"}).(protocol.TopicInfo)
			return is && len(info.Partitions) == 3
		}},
		{"delete", actors.DeleteTopic{Topic: "t"}, `topic "t" is not deleted after 20ms: it may still be carried out: look with metaq topic info t`, func(r *rig) bool {
			err, is := r.admin(actors.DescribeTopic{Topic: "t"}).(error)
			return is && protocol.AsError(err).Code == 404
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, d := newRig(t, oneTopic)
			d.Options.AnswerTimeout = soon
			r.start(d)
			r.registry.Mu.Lock() // it answers nobody
			err := actorstest.Refusal(t, r.admin(c.ask), protocol.ErrUnavailable)
			r.registry.Mu.Unlock()
			if !strings.Contains(err.Description, c.text) {
				t.Errorf("%q does not say %q", err.Description, c.text)
			}
			r.wait("what was asked for", func() bool { return c.then(r) })
		})
	}
}

func TestARefusalSaysWhetherTheChangeCanStillHappen(t *testing.T) {
	r, d := newRig(t, oneTopic)
	r.start(d)
	for call, ask := range map[string]any{
		"create n": actors.CreateTopic{Request: protocol.TopicCreate{Topic: "n"}},
		"set t":    actors.SetTopic{Request: protocol.TopicSet{Topic: "t", Partitions: 2}},
		"delete t": actors.DeleteTopic{Topic: "t"},
	} {
		topic := call[len(call)-1:]
		for _, c := range []struct {
			err  error
			text string
		}{
			{protocol.ErrUnavailable.With("away"), "nothing was changed, and this request will not be carried out: try again"},
			{fmt.Errorf("%w (%w)", protocol.ErrUnavailable.With("away"), actors.ErrOutcomeUnknown), "it may still be carried out: look with metaq topic info " + topic},
		} {
			r.registry.SetFail(call, c.err)
			err := actorstest.Refusal(t, r.admin(ask), protocol.ErrUnavailable)
			if want := fmt.Sprintf("topic %q: away: %s", topic, c.text); err.Description != want {
				t.Errorf("%s: got %q, want %q", call, err.Description, want)
			}
		}
		r.registry.SetFail(call, nil)
	}
	actorstest.OffsetOf(t, r.put("the topic is as before"))
}

func TestADeletionIsForTheTopicThatWasMeant(t *testing.T) {
	r, d := newRig(t)
	r.start(d)
	first := *r.admin(actors.CreateTopic{Request: protocol.TopicCreate{Topic: "t", Partitions: 1}}).(protocol.TopicInfo).Born
	r.admin(actors.DeleteTopic{Topic: "t", Born: &first})
	second := *r.admin(actors.CreateTopic{Request: protocol.TopicCreate{Topic: "t", Partitions: 1}}).(protocol.TopicInfo).Born
	if second <= first {
		t.Fatalf("the second topic has born %d, the first had %d", second, first)
	}
	actorstest.OffsetOf(t, r.putTo("t", 0, "of the second"))
	actorstest.RequireError(t, r.admin(actors.DeleteTopic{Topic: "t", Born: &first}), protocol.ErrConflict)

	// Another broker has made it again, and this one has not seen that yet.
	r.registry.Mu.Lock()
	third := r.registry.ByName["t"]
	third.Born++
	r.registry.ByName["t"] = third
	r.registry.Mu.Unlock()
	actorstest.RequireError(t, r.admin(actors.DeleteTopic{Topic: "t"}), protocol.ErrConflict)
	r.registry.Mu.Lock()
	defer r.registry.Mu.Unlock()
	if _, there := r.registry.ByName["t"]; !there {
		t.Error("the topic of the other broker was deleted")
	}
}

func TestARequestWhoseTimeIsOverIsNotCarriedOut(t *testing.T) {
	r, d := newRig(t, oneTopic)
	r.start(d)
	over := time.Now().Add(-time.Second)
	for _, request := range []any{
		actors.CreateTopic{Request: protocol.TopicCreate{Topic: "n"}}, actors.SetTopic{Request: protocol.TopicSet{Topic: "t", Partitions: 9}}, actors.DeleteTopic{Topic: "t"},
	} {
		err := actorstest.Refusal(t, r.admin(actors.Dated{Request: request, Until: over}), protocol.ErrUnavailable)
		if !strings.Contains(err.Description, "will not be carried out") {
			t.Errorf("%T: %s", request, err)
		}
	}
	for _, call := range r.registry.Story() {
		if call == "create n" || call == "set t" || call == "delete t" {
			t.Errorf("the registry was asked: %s", call)
		}
	}
	r.admin(actors.Dated{Request: actors.DeleteTopic{Topic: "t"}, Until: time.Now().Add(time.Hour)})
	actorstest.RequireError(t, r.admin(actors.DescribeTopic{Topic: "t"}), protocol.ErrNoTopic)
}

// A deletion is answered when it is done. When its time is up later, nobody waits any more.
func TestADeletionIsAnsweredOnce(t *testing.T) {
	r, d := newRig(t, oneTopic)
	d.Options.AnswerTimeout = soon
	r.start(d)
	if got := r.admin(actors.DeleteTopic{Topic: "t"}); got != any(protocol.Done{OK: true}) {
		t.Fatalf("delete: %v", got)
	}
	r.registry.Mu.Lock() // it answers nobody: the next request is answered when its own, later time is up
	got := r.admin(actors.CreateTopic{Request: protocol.TopicCreate{Topic: "n"}})
	r.registry.Mu.Unlock()
	if err := actorstest.Refusal(t, got, protocol.ErrUnavailable); !strings.Contains(err.Description, `topic "n" is not created`) {
		t.Errorf("the next answer is %q", err.Description)
	}
}

// A change whose client has gone is not carried out: neither one that is looked at after that,
// nor one that waits for the registry.
func TestARequestWhoseClientHasGoneIsNotCarriedOut(t *testing.T) {
	r, d := newRig(t, oneTopic)
	r.start(d)
	gone := func() bool { return false }
	for _, request := range []any{
		actors.CreateTopic{Request: protocol.TopicCreate{Topic: "n"}}, actors.SetTopic{Request: protocol.TopicSet{Topic: "t", Partitions: 9}}, actors.DeleteTopic{Topic: "t"},
	} {
		err := actorstest.Refusal(t, r.admin(actors.Dated{Request: request, Until: time.Now().Add(time.Hour), Heard: gone}), protocol.ErrUnavailable)
		if !strings.Contains(err.Description, "will not be carried out") {
			t.Errorf("%T: %s", request, err)
		}
	}
	for _, call := range r.registry.Story() {
		if call == "create n" || call == "set t" || call == "delete t" {
			t.Errorf("the registry was asked: %s", call)
		}
	}
}

func TestACallOfTheRegistryEndsWhenNobodyWaitsForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var gone atomic.Bool
		ctx, stop := actors.WhileHeard(t.Context(), func() bool { return !gone.Load() })
		defer stop()
		time.AfterFunc(time.Second, func() { gone.Store(true) })
		<-ctx.Done()
		if !errors.Is(context.Cause(ctx), actors.ErrUnheard) {
			t.Errorf("it ended with %v", context.Cause(ctx))
		}
		ctx, stop = actors.WhileHeard(t.Context(), nil)
		stop()
		<-ctx.Done()
	})
}
