package transport

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"metaq/actors"
	"metaq/protocol"
)

func TestAFullPartitionIsBusyAndTheOthersAreNot(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Partition = Limits{Requests: 3, Bytes: 1000} })
	r.parts[0].holdBack()
	var held []string
	for range 3 {
		held = append(held, r.request("metaq.put.t.0-0", nil, "x"))
	}
	if answer := r.ask("metaq.put.t.0-0", nil, "x"); codeOf(t, answer) != 429 {
		t.Errorf("the fourth put: %s", answer)
	}
	ackOf(t, r.ask("metaq.put.t.0-1", nil, "x"))
	r.ask("metaq.get.t.0-1", nil, "") // readers have bounds of their own
	r.parts[0].release()
	for _, token := range held {
		ackOf(t, string(r.wait(token)))
	}
	ackOf(t, r.ask("metaq.put.t.0-0", nil, "x"))
	if n := r.metric("metaq_inflight_requests") + r.metric("metaq_inflight_bytes"); n != 0 {
		t.Errorf("%v requests and bytes are still counted", n)
	}
}

// A header block stays in memory as long as its message: it counts as it came.
func TestAHeaderBlockThatSaysLittleCountsAll(t *testing.T) {
	deploy := external(t) // the front gives names and values memory of their own
	r := newRig(t, func(o *Options) {
		deploy(o)
		o.Partition = Limits{Requests: 100, Bytes: 2_700}
	})
	r.parts[0].holdBack()
	blanks := nats.Header{}
	for range 250 {
		blanks.Add("A", "")
	}
	held := r.request("metaq.put.t.0-0", blanks, "x") // 1,250 bytes that say 251
	again := r.request("metaq.put.t.0-0", blanks, "x")
	if answer := r.ask("metaq.put.t.0-0", blanks, "x"); codeOf(t, answer) != 429 {
		t.Errorf("the third: %s", answer)
	}
	r.parts[0].release()
	for _, token := range []string{held, again} {
		r.wait(token)
	}
}

func TestAFullBrokerIsBusy(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Total = Limits{Requests: 100, Bytes: 10} })
	r.parts[0].holdBack()
	held := r.request("metaq.put.t.0-0", nil, "1234567890")
	for subject, body := range map[string]string{"metaq.put.t.0-1": "x", "metaq.batch.t.0-1": string(batchOf(t, 0, "x"))} {
		if answer := r.ask(subject, nil, body); codeOf(t, answer) != 429 {
			t.Errorf("%s: %s", subject, answer)
		}
	}
	r.parts[0].release()
	ackOf(t, string(r.wait(held)))
}

func TestARefusedBatchHoldsNothing(t *testing.T) {
	r := newRig(t, nil)
	if answer := r.ask("metaq.batch.t.0-0", nil, "no batch"); codeOf(t, answer) != 400 {
		t.Error(answer)
	}
	if n := r.metric("metaq_inflight_requests"); n != 0 {
		t.Errorf("%v requests are still counted", n)
	}
}

func TestDrainAnswersWhatCameAndRefusesTheRest(t *testing.T) {
	r := newRig(t, nil)
	for i := range 2000 {
		r.request("metaq.put.t.0-0", nil, fmt.Sprint(i))
	}
	if err := r.asker.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := r.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := len(r.parts[0].values()); got > 2000 {
		t.Errorf("%d records", got)
	}
	for i := range 2000 {
		ackOf(t, string(r.wait(fmt.Sprint(i+1))))
	}
	if answer := r.ask("metaq.put.t.0-0", nil, "late"); answer != "no responders" {
		t.Error(answer)
	}
}

// topicsActor creates topics when told to go on.
func (r *rig) topicsActor(goOn <-chan error) {
	r.actorNamed(actors.TopicsActor, func(ctx actor.Context) {
		if m, ok := ctx.Message().(actors.AutoCreate); ok {
			if err := <-goOn; err != nil {
				ctx.Respond(err)
				return
			}
			r.addTopic(m.Topic, 2, -1)
			r.publishRoutes()
			ctx.Respond(protocol.TopicInfo{Topic: m.Topic})
		}
	})
}

func TestPutsWaitForTheirTopicInOrder(t *testing.T) {
	r := newRig(t, func(o *Options) { o.AutoCreate = true })
	goOn := make(chan error)
	r.topicsActor(goOn)
	var want, tokens []string
	for i := range 20 {
		want = append(want, fmt.Sprint(i))
		tokens = append(tokens, r.request("metaq.put.new.0-1", nil, want[i]))
	}
	lost := r.request("metaq.put.new.0-7", nil, "x")
	batch := r.request("metaq.batch.new.0-0", nil, string(batchOf(t, 0, "a")))
	ackOf(t, r.ask("metaq.put.t", nil, "others do not wait"))
	goOn <- nil
	for _, token := range tokens {
		ackOf(t, string(r.wait(token)))
	}
	if answer := string(r.wait(lost)); codeOf(t, answer) != 404 {
		t.Error(answer)
	}
	ackOf(t, string(r.wait(batch)))
	if d := cmp.Diff(want, r.last().values()); d != "" {
		t.Error(d)
	}
}

func TestPutsWhoseTopicIsRefusedAreRefused(t *testing.T) {
	r := newRig(t, func(o *Options) { o.AutoCreate = true })
	goOn := make(chan error)
	r.topicsActor(goOn)
	tokens := []string{r.request("metaq.put.new", nil, "a"), r.request("metaq.put.new", nil, "b")}
	ackOf(t, r.ask("metaq.put.t", nil, "x")) // both wait by now
	goOn <- protocol.ErrUnavailable
	for _, token := range tokens {
		if answer := string(r.wait(token)); codeOf(t, answer) != 503 {
			t.Error(answer)
		}
	}
	if n := r.metric("metaq_inflight_requests"); n != 0 {
		t.Errorf("%v requests are still counted", n)
	}
}

func TestWhatIsRefusedCreatesNoTopic(t *testing.T) {
	r := newRig(t, func(o *Options) { o.AutoCreate = true })
	created := make(chan error, 4)
	for range cap(created) {
		created <- nil
	}
	r.topicsActor(created)
	for _, answer := range []string{
		r.ask("metaq.batch.new.0-0", nil, "no batch"),
		r.ask("metaq.put.new", nats.Header{"Nats-TTL": {"1h"}}, "x"),
		r.ask("metaq.put.new", nats.Header{"Metaq-Key": {"a", "b"}}, "x"),
	} {
		if codeOf(t, answer) != 400 {
			t.Error(answer)
		}
	}
	for _, subject := range []string{"metaq.put.new.9-9", "metaq.put.new.0-4", "metaq.put.new.1-0", "metaq.batch.new.0-4"} {
		if answer := r.ask(subject, nil, string(batchOf(t, 0, "a"))); codeOf(t, answer) != 404 {
			t.Errorf("%s: %s", subject, answer)
		}
	}
	if len(created) != cap(created) {
		t.Error("a refused request has created its topic")
	}
	ackOf(t, r.ask("metaq.put.new", nil, "x"))
}

func TestTopicsInCreationAreBounded(t *testing.T) {
	r := newRig(t, func(o *Options) {
		o.AutoCreate, o.Waiting = true, 1
		o.Partition.Requests = 2
	})
	goOn := make(chan error)
	r.topicsActor(goOn)
	held := []string{r.request("metaq.put.new", nil, "a"), r.request("metaq.put.new", nil, "b")}
	if answer := r.ask("metaq.put.new", nil, "c"); codeOf(t, answer) != 429 {
		t.Errorf("a third put: %s", answer)
	}
	if answer := r.ask("metaq.put.another", nil, "c"); codeOf(t, answer) != 429 {
		t.Errorf("a second topic: %s", answer)
	}
	goOn <- nil
	for _, token := range held {
		ackOf(t, string(r.wait(token)))
	}
}

func TestDrainDoesNotWaitForATopicForEver(t *testing.T) {
	r := newRig(t, func(o *Options) { o.AutoCreate = true })
	goOn := make(chan error)
	r.topicsActor(goOn)
	held := r.request("metaq.put.new", nil, "a")
	ackOf(t, r.ask("metaq.put.t", nil, "x"))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := r.Drain(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if answer := string(r.wait(held)); codeOf(t, answer) != 503 {
		t.Error(answer)
	}
	goOn <- protocol.ErrUnavailable // the answer comes too late, and is not given twice
}
