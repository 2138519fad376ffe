package transport

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/micro"

	"metaq/actors"
	"metaq/protocol"
)

// adminActors answer with what they were asked, as a topic's name.
func (r *rig) adminActors() {
	echo := func(ctx actor.Context) {
		message := ctx.Message()
		if dated, is := message.(actors.Dated); is {
			message = dated.Request
		}
		switch m := message.(type) {
		case actors.CreateTopic, actors.SetTopic, actors.DescribeTopic, actors.ListTopics, actors.DescribeBroker, actors.DescribeCluster:
			ctx.Respond(protocol.TopicInfo{Topic: fmt.Sprintf("%T %v", m, m)})
		case actors.DeleteTopic:
			ctx.Respond(protocol.ErrNoTopic)
		}
	}
	r.actorNamed(actors.TopicsActor, echo)
	r.actorNamed(actors.BrokerActor, echo)
	r.actorNamed(actors.ClusterActor, func(ctx actor.Context) {
		if _, ok := ctx.Message().(actors.GrantProducer); ok {
			ctx.Respond(protocol.ProducerGrant{Producer: 1 << 50, Epoch: 1})
		}
	})
}

func TestAdministration(t *testing.T) {
	r := newRig(t, nil)
	r.adminActors()
	for _, tc := range []struct {
		subject, body string
		code          int
		text          string
	}{
		{"topic.create", `{"topic":"a","partitions":3}`, 0, "actors.CreateTopic"},
		{"topic.set", `{"topic":"a","config":{"accept_publish":false}}`, 0, "actors.SetTopic"},
		{"topic.info", `{"topic":"a"}`, 0, "actors.DescribeTopic {a}"},
		{"topic.delete", `{"topic":"a"}`, 404, "no such topic"},
		{"topic.ls", ``, 0, "actors.ListTopics"},
		{"topic.ls", `{}`, 0, "actors.ListTopics"},
		{"producer.id", ``, 0, `{"producer":1125899906842624,"epoch":1}`},
		{"producer.id", `{"name":"me"}`, 400, "name"},
		{"broker.info", ``, 0, "actors.DescribeBroker"},
		{"cluster.info", ``, 0, "actors.DescribeCluster"},
		{"topic.create", `{"topic":"a.b"}`, 400, "a.b"},
		{"topic.create", ``, 400, "empty"},
		{"topic.create", `{"topic":"a","partitions":-1}`, 400, "-1"},
		{"topic.create", `{"topic":"a","partitions":10001}`, 400, "10001"},
		{"topic.create", `{"topic":"a","config":{"colour":1}}`, 400, "colour"},
		{"topic.set", `{"topic":"a","partitions":"many"}`, 400, "partitions"},
		{"topic.info", `[]`, 400, "JSON"},
		{"topic.delete", `{"topic":"*"}`, 400, "*"},
		{"topic.ls", `{"all":true}`, 400, "all"},
		{"broker.info", `x`, 400, "JSON"},
		{"cluster.info", strings.Repeat(" ", maxControlSize+1), 413, "65537"},
		{"topic.rename", `{}`, -1, "no responders"},
	} {
		t.Run(tc.subject+" "+tc.body[:min(len(tc.body), 40)], func(t *testing.T) {
			answer := r.ask("metaq.admin."+tc.subject, nil, tc.body)
			if tc.code >= 0 && codeOf(t, answer) != tc.code {
				t.Errorf("want code %d: %s", tc.code, answer)
			}
			if !strings.Contains(answer, tc.text) {
				t.Errorf("answer %s does not say %q", answer, tc.text)
			}
		})
	}
	if n := r.adminNow.Load(); n != 0 {
		t.Errorf("%d requests are still counted", n)
	}
}

// heldLists makes the topics actor keep requests for lists, and returns who asks.
func (r *rig) heldLists() <-chan *actor.PID {
	senders := make(chan *actor.PID, 100)
	r.actorNamed(actors.TopicsActor, func(ctx actor.Context) {
		if _, ok := ctx.Message().(actors.ListTopics); ok {
			senders <- ctx.Sender()
		}
	})
	return senders
}

func TestAdministrationIsBounded(t *testing.T) {
	nats := external(t)
	r := newRig(t, func(o *Options) {
		nats(o)
		o.Admin = 2
	})
	senders := r.heldLists()
	held := []string{r.request("metaq.admin.topic.ls", nil, ""), r.request("metaq.admin.topic.ls", nil, "")}
	to := []*actor.PID{<-senders, <-senders}
	if answer := r.ask("metaq.admin.topic.ls", nil, ""); codeOf(t, answer) != 429 {
		t.Error(answer)
	}
	for _, pid := range to {
		r.system.Root.Send(pid, protocol.TopicList{})
	}
	for _, token := range held {
		r.wait(token)
	}
}

// One connection with many administration requests is held; others are served, and nobody is
// refused.
func TestAConnectionsAdministrationRequestsAreBounded(t *testing.T) {
	r := newRig(t, nil)
	senders := r.heldLists()
	for range adminShare + 1 {
		r.request("metaq.admin.topic.ls", nil, "")
	}
	var to []*actor.PID
	for range adminShare {
		to = append(to, <-senders)
	}
	eventually(t, "the connection is held", func() bool { return r.metric("metaq_clients_held") == 1 })
	other := newAsker(t, r.asker.nc.ConnectedUrl())
	defer other.nc.Close()
	token := other.request("metaq.admin.topic.ls", nil, "")
	r.system.Root.Send(<-senders, protocol.TopicList{})
	if answer := other.wait(token); codeOf(t, string(answer)) != 0 {
		t.Errorf("another connection got %s", answer)
	}
	for _, pid := range to {
		r.system.Root.Send(pid, protocol.TopicList{})
	}
	r.system.Root.Send(<-senders, protocol.TopicList{})
	for i := range adminShare + 1 {
		if answer := r.wait(fmt.Sprint(i + 1)); codeOf(t, string(answer)) != 0 {
			t.Errorf("request %d got %s", i+1, answer)
		}
	}
}

func TestTheServiceIsDiscovered(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Version = "1.2.3" })
	var info micro.Info
	if err := json.Unmarshal([]byte(r.ask("$SRV.INFO.metaq", nil, "")), &info); err != nil {
		t.Fatal(err)
	}
	var subjects []string
	for _, e := range info.Endpoints {
		subjects = append(subjects, e.Subject)
	}
	want := []string{
		"metaq.admin.topic.create", "metaq.admin.topic.set", "metaq.admin.topic.info", "metaq.admin.topic.delete",
		"metaq.admin.topic.ls", "metaq.admin.group.ls", "metaq.admin.producer.id", "metaq.admin.broker.info", "metaq.admin.cluster.info",
	}
	if d := cmp.Diff(want, subjects); d != "" || info.Version != "1.2.3" {
		t.Errorf("version %s, subjects %s", info.Version, d)
	}
}
