package system

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"metaq/actors"
	"metaq/actors/actorstest"
	"metaq/actors/partition"
	"metaq/protocol"
)

func TestATopicsLife(t *testing.T) {
	r, d := newRig(t)
	r.start(d)
	info := r.admin(actors.CreateTopic{Request: protocol.TopicCreate{Topic: "t"}}).(protocol.TopicInfo)
	if len(info.Partitions) != 2 || info.Partitions[1].Leader != 0 || info.Partitions[1].Epoch != 1 {
		t.Fatalf("%+v", info)
	}
	actorstest.OffsetOf(t, r.putTo("t", 1, "a"))

	info = r.admin(actors.SetTopic{Request: protocol.TopicSet{Topic: "t", Partitions: 3}}).(protocol.TopicInfo)
	if len(info.Partitions) != 3 || info.Partitions[2].Leader != 0 || info.Partitions[1].EndOffset != 1 {
		t.Fatalf("%+v", info)
	}
	actorstest.OffsetOf(t, r.putTo("t", 2, "b"))
	actorstest.OffsetOf(t, r.putTo("t", 1, "c"))
	if got := r.registry.ByName["t"].Partitions; got != 3 {
		t.Fatalf("the registry says %d partitions", got)
	}

	off := r.admin(actors.SetTopic{Request: protocol.TopicSet{Topic: "t", Config: protocol.TopicConfig{AcceptPublish: actorstest.Ptr(false)}}}).(protocol.TopicInfo)
	if off.Config.AcceptPublish == nil || *off.Config.AcceptPublish || r.routes.Load().Topics["t"].AcceptPublish {
		t.Fatalf("%+v", off.Config)
	}

	list := r.admin(actors.ListTopics{}).(protocol.TopicList)
	list.Topics[0].Bytes = 0
	if diff := cmp.Diff(protocol.TopicList{Topics: []protocol.TopicSummary{{Topic: "t", Partitions: 3, Messages: 3}}}, list); diff != "" {
		t.Fatal(diff)
	}

	late := r.leader("t", 1) // a route that somebody has in hand still
	if diff := cmp.Diff(any(protocol.Done{OK: true}), r.admin(actors.DeleteTopic{Topic: "t"})); diff != "" {
		t.Fatal(diff)
	}
	actorstest.RequireError(t, r.ask(late, actorstest.Together(actors.Put{Ticket: r.tickets.Take()})), protocol.ErrUnavailable)
	if len(r.disk.Aside) != 3 || len(r.routes.Load().Topics) != 0 {
		t.Fatalf("set aside %q", r.disk.Aside)
	}
	actorstest.RequireError(t, r.admin(actors.DescribeTopic{Topic: "t"}), protocol.ErrNoTopic)

	r.admin(actors.CreateTopic{Request: protocol.TopicCreate{Topic: "t", Partitions: 1}})
	if got := actorstest.OffsetOf(t, r.putTo("t", 0, "new")); got != 0 {
		t.Fatalf("offset %d in a topic that is new again", got)
	}
}

func TestRequestsAboutTopicsThatAreRefused(t *testing.T) {
	r, d := newRig(t, oneTopic)
	d.Options.AutoCreate = false
	r.start(d)
	for _, tc := range []struct {
		name string
		ask  any
		want *protocol.Error
		text string
	}{
		{"name", actors.CreateTopic{Request: protocol.TopicCreate{Topic: "a.b"}}, protocol.ErrBadName, `"a.b"`},
		{"too many partitions", actors.CreateTopic{Request: protocol.TopicCreate{Topic: "n", Partitions: 10_001}}, protocol.ErrBadRequest, "use 1 to 10000"},
		{"no partitions", actors.CreateTopic{Request: protocol.TopicCreate{Topic: "n", Partitions: -1}}, protocol.ErrBadRequest, "use 1 to 10000"},
		{"twice", actors.CreateTopic{Request: protocol.TopicCreate{Topic: "t"}}, protocol.ErrExists, "exists already"},
		{"configuration", actors.CreateTopic{Request: protocol.TopicCreate{Topic: "n", Config: protocol.TopicConfig{DeletePolicy: actorstest.Ptr("wrong")}}}, protocol.ErrBadRequest, "delete,168"},
		{"set what is not there", actors.SetTopic{Request: protocol.TopicSet{Topic: "n"}}, protocol.ErrNoTopic, `"n": see metaq topic ls`},
		{"fewer partitions", actors.SetTopic{Request: protocol.TopicSet{Topic: "t", Partitions: -1}}, protocol.ErrBadRequest, "use 1 to"},
		{"delete what is not there", actors.DeleteTopic{Topic: "n"}, protocol.ErrNoTopic, `"n"`},
		{"describe what is not there", actors.DescribeTopic{Topic: "n"}, protocol.ErrNoTopic, `"n"`},
		{"create by putting", actors.AutoCreate{Topic: "n"}, protocol.ErrNoTopic, "metaq topic create n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := actorstest.Refusal(t, r.admin(tc.ask), tc.want)
			if !strings.Contains(err.Description, tc.text) {
				t.Fatalf("%q does not say %q", err.Description, tc.text)
			}
		})
	}
	r.admin(actors.SetTopic{Request: protocol.TopicSet{Topic: "t", Partitions: 3}})
	actorstest.RequireError(t, r.admin(actors.SetTopic{Request: protocol.TopicSet{Topic: "t", Partitions: 2}}), protocol.ErrConflict)
}

func TestARegistryThatFails(t *testing.T) {
	r, d := newRig(t, oneTopic)
	r.start(d)
	for call, ask := range map[string]any{
		"create n": actors.CreateTopic{Request: protocol.TopicCreate{Topic: "n"}},
		"set t":    actors.SetTopic{Request: protocol.TopicSet{Topic: "t", Partitions: 2}},
		"delete t": actors.DeleteTopic{Topic: "t"},
	} {
		r.registry.SetFail(call, actorstest.ErrDisk)
		actorstest.RequireError(t, r.admin(ask), protocol.ErrInternal)
	}
	actorstest.OffsetOf(t, r.put("the topic is as before"))
	actorstest.RequireError(t, r.admin(actors.DescribeTopic{Topic: "n"}), protocol.ErrNoTopic)
}

func TestOneCreationForAllPutsToATopicThatIsNotThere(t *testing.T) {
	r, d := newRig(t)
	r.start(d)
	const n = 100
	for range n {
		r.send(r.env.System.NewLocalPID(actors.TopicsActor), actors.AutoCreate{Topic: "t"})
	}
	for range n {
		info, ok := r.probe.Next(t).(protocol.TopicInfo)
		if !ok || len(info.Partitions) != 2 || info.Partitions[0].Leader != 0 {
			t.Fatalf("%+v", info)
		}
	}
	created := 0
	for _, c := range r.registry.Story() {
		if c == "create t" {
			created++
		}
	}
	if created != 1 {
		t.Fatalf("%d creations", created)
	}
}

// Until a deletion has ended, the outcome and who has the name next are open:
// nobody is told 404, which a producer would believe.
func TestATopicInDeletionIsNotSaidToBeMissing(t *testing.T) {
	r, d := newRig(t, oneTopic)
	r.start(d)
	topics := r.env.System.NewLocalPID(actors.TopicsActor)
	r.registry.Mu.Lock() // it answers nobody
	r.send(topics, actors.DeleteTopic{Topic: "t"})
	actorstest.RequireError(t, r.ask(topics, actors.DescribeTopic{Topic: "t"}), protocol.ErrUnavailable)
	actorstest.RequireError(t, r.ask(topics, actors.AutoCreate{Topic: "t"}), protocol.ErrUnavailable)
	if routes := r.routes.Load(); !routes.Deleting["t"] || routes.Topics["t"] != nil {
		t.Errorf("%+v", routes)
	}
	r.registry.Mu.Unlock()
	if diff := cmp.Diff(any(protocol.Done{OK: true}), r.probe.Next(t)); diff != "" {
		t.Fatal(diff)
	}
	actorstest.RequireError(t, r.ask(topics, actors.DescribeTopic{Topic: "t"}), protocol.ErrNoTopic)
	if n := len(r.routes.Load().Deleting); n != 0 {
		t.Errorf("%d topics are still in deletion", n)
	}
}

func TestTopicsThatPutsCreateAreBounded(t *testing.T) {
	r, d := newRig(t, oneTopic)
	d.Options.AutoCreateLimit = 2
	r.start(d)
	if _, ok := r.admin(actors.AutoCreate{Topic: "second"}).(protocol.TopicInfo); !ok {
		t.Fatal("the second topic was not created")
	}
	if err := actorstest.Refusal(t, r.admin(actors.AutoCreate{Topic: "third"}), protocol.ErrNoTopic); !strings.Contains(err.Description, "autoCreateLimit") {
		t.Error(err)
	}
	if _, ok := r.admin(actors.AutoCreate{Topic: "second"}).(protocol.TopicInfo); !ok {
		t.Error("what is there is refused")
	}
	if _, ok := r.admin(actors.CreateTopic{Request: protocol.TopicCreate{Topic: "third"}}).(protocol.TopicInfo); !ok {
		t.Error("an operator's topic is refused")
	}
}

// every is a Schedule.
type every time.Duration

func (e every) Next(t time.Time) (time.Time, bool) {
	return t.Truncate(time.Duration(e)).Add(time.Duration(e)), true
}

func TestRetentionComesWhenItIsDue(t *testing.T) {
	actorstest.Bubble(t, func(t *testing.T) {
		r, d := newRig(t, actors.Topic{Name: "often", Partitions: 2}, actors.Topic{Name: "seldom", Partitions: 1}, actors.Topic{Name: "never", Partitions: 1})
		d.Resolve = func(topic string, c protocol.TopicConfig) (actors.Settings, error) {
			if c.DeleteWhen != nil {
				topic = *c.DeleteWhen
			}
			switch topic {
			case "often":
				return actors.Settings{RetainAt: every(time.Hour)}, nil
			case "seldom":
				return actors.Settings{RetainAt: every(12 * time.Hour)}, nil
			}
			return actors.Settings{}, nil
		}
		r.start(d)
		expires := func(name string) (n int) {
			r.disk.Log(t, name).Update(func(l *actorstest.Log) { n = l.Expires })
			return n
		}
		time.Sleep(24*time.Hour + time.Minute) //nolint:forbidigo // the bubble's clock
		synctest.Wait()
		for name, want := range map[string]int{"often-0-0": 24, "often-0-1": 24, "seldom-0-0": 2, "never-0-0": 0} {
			if got := expires(name); got != want {
				t.Errorf("%s: %d times in a day, want %d", name, got, want)
			}
		}
		r.admin(actors.SetTopic{Request: protocol.TopicSet{Topic: "never", Config: protocol.TopicConfig{DeleteWhen: actorstest.Ptr("often")}}})
		time.Sleep(2 * time.Hour) //nolint:forbidigo // the bubble's clock
		synctest.Wait()
		if got := expires("never-0-0"); got != 2 {
			t.Errorf("%d times in two hours after the change, want 2", got)
		}
	})
}

func TestRetentionMovesTheLogStart(t *testing.T) {
	r, l := startOne(t)
	actorstest.OffsetOf(t, r.put("a"))
	actorstest.OffsetOf(t, r.put("b"))
	r.env.Tell(r.leader("t", 0), partition.Expire{})
	r.wait("the log start moves", func() bool { return l.Start() == 2 })
	if got := r.admin(actors.DescribeTopic{Topic: "t"}).(protocol.TopicInfo).Partitions[0]; got.LogStart != 2 || got.EndOffset != 2 {
		t.Fatalf("%+v", got)
	}
}

func TestManyTopicsStopWhileTheyAreChanged(t *testing.T) {
	r, d := newRig(t)
	r.start(d)
	for i := range 20 {
		r.send(r.env.System.NewLocalPID(actors.TopicsActor), actors.CreateTopic{Request: protocol.TopicCreate{Topic: strings.Repeat("x", i+1), Partitions: 40}})
		if i%3 == 0 {
			r.send(r.env.System.NewLocalPID(actors.TopicsActor), actors.DeleteTopic{Topic: strings.Repeat("x", i+1)})
		}
	}
	if err := r.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 20 + 7 {
		r.probe.Next(t)
	}
}

func TestATopicThatTheRegistrySpoilsDoesNotStopTheStart(t *testing.T) {
	good, bad := actors.Topic{Name: "good", Partitions: 1}, actors.Topic{Name: "bad", Partitions: 1}
	serves := func(t *testing.T, r *rig) {
		t.Helper()
		if got := actorstest.OffsetOf(t, r.putTo("good", 0, "a")); got != 0 {
			t.Errorf("offset %d", got)
		}
	}
	t.Run("by its settings", func(t *testing.T) {
		spoilt := bad
		spoilt.Config.DeletePolicy = actorstest.Ptr("wrong")
		r, d := newRig(t, good, spoilt)
		r.start(d)
		serves(t, r)
		actorstest.RequireError(t, r.admin(actors.DescribeTopic{Topic: "bad"}), protocol.ErrNoTopic)
	})
	t.Run("by its settings, though it is configured", func(t *testing.T) {
		spoilt := bad
		spoilt.Config.DeletePolicy = actorstest.Ptr("wrong")
		r, d := newRig(t, good, spoilt)
		d.Topics = []actors.Topic{bad}
		r.start(d)
		serves(t, r)
	})
	t.Run("by the record of its partitions", func(t *testing.T) {
		r, d := newRig(t, good, bad)
		r.registry.SetFail("claim bad", fmt.Errorf("%w: garbage", actors.ErrUnclaimable))
		r.start(d)
		serves(t, r)
		actorstest.RequireError(t, r.putTo("bad", 0, "a"), protocol.ErrUnavailable)
		r.registry.SetFail("claim bad", nil) // somebody has corrected it
		for deadline := time.Now().Add(10 * time.Second); ; {
			answer := r.putTo("bad", 0, "a")
			if _, done := answer.(protocol.PubAck); done {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("the topic does not serve: %v", answer)
			}
		}
	})
	t.Run("by a record of a configured topic that it does not show", func(t *testing.T) {
		r, d := newRig(t, good)
		r.registry.SetFail("create bad", protocol.ErrExists)
		d.Topics = []actors.Topic{bad}
		r.start(d)
		serves(t, r)
	})
}

func TestPartitionsBeyondTheLimitAreRefused(t *testing.T) {
	r, d := newRig(t, actors.Topic{Name: "t", Partitions: 3})
	d.Options.MaxPartitions = 5
	r.start(d)
	err := actorstest.Refusal(t, r.admin(actors.CreateTopic{Request: protocol.TopicCreate{Topic: "large", Partitions: 3}}), protocol.ErrBusy)
	if !strings.Contains(err.Description, "maxPartitions") {
		t.Errorf("refused with %v", err)
	}
	actorstest.RequireError(t, r.admin(actors.SetTopic{Request: protocol.TopicSet{Topic: "t", Partitions: 6}}), protocol.ErrBusy)
	if _, ok := r.admin(actors.CreateTopic{Request: protocol.TopicCreate{Topic: "small", Partitions: 1}}).(protocol.TopicInfo); !ok {
		t.Error("a topic within the limit was refused")
	}
	if _, ok := r.admin(actors.SetTopic{Request: protocol.TopicSet{Topic: "t", Partitions: 4}}).(protocol.TopicInfo); !ok {
		t.Error("growth within the limit was refused")
	}
	actorstest.RequireError(t, r.admin(actors.AutoCreate{Topic: "more"}), protocol.ErrBusy)
	if _, ok := r.admin(actors.DeleteTopic{Topic: "small"}).(protocol.Done); !ok {
		t.Error("the topic was not deleted")
	}
	if _, ok := r.admin(actors.CreateTopic{Request: protocol.TopicCreate{Topic: "again", Partitions: 1}}).(protocol.TopicInfo); !ok {
		t.Error("room was not given back")
	}
}

// One client's first puts with many names leave room for those of others.
func TestOneAddressDoesNotUseUpAutoCreation(t *testing.T) {
	r, d := newRig(t)
	d.Options.AutoCreate, d.Options.AutoCreateRate = true, 2
	r.start(d)
	for _, name := range []string{"a", "b"} {
		if _, ok := r.admin(actors.AutoCreate{Topic: name, From: "192.0.2.1"}).(protocol.TopicInfo); !ok {
			t.Fatalf("%s was not created", name)
		}
	}
	if err := actorstest.Refusal(t, r.admin(actors.AutoCreate{Topic: "c", From: "192.0.2.1"}), protocol.ErrBusy); !strings.Contains(err.Description, "autoCreateRate") {
		t.Errorf("the text is %q", err.Description)
	}
	if _, ok := r.admin(actors.AutoCreate{Topic: "a", From: "192.0.2.1"}).(protocol.TopicInfo); !ok {
		t.Error("a topic that exists is refused")
	}
	if _, ok := r.admin(actors.AutoCreate{Topic: "d", From: "192.0.2.2"}).(protocol.TopicInfo); !ok {
		t.Error("another address cannot create a topic")
	}
}
