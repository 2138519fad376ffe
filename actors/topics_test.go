package actors

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"metaq/protocol"
)

func TestATopicsLife(t *testing.T) {
	r, d := newRig(t)
	r.start(d)
	info := r.admin(CreateTopic{protocol.TopicCreate{Topic: "t"}}).(protocol.TopicInfo)
	if len(info.Partitions) != 2 || info.Partitions[1].Leader != 0 || info.Partitions[1].Epoch != 1 {
		t.Fatalf("%+v", info)
	}
	offsetOf(t, r.putTo("t", 1, "a"))

	info = r.admin(SetTopic{protocol.TopicSet{Topic: "t", Partitions: 3}}).(protocol.TopicInfo)
	if len(info.Partitions) != 3 || info.Partitions[2].Leader != 0 || info.Partitions[1].EndOffset != 1 {
		t.Fatalf("%+v", info)
	}
	offsetOf(t, r.putTo("t", 2, "b"))
	offsetOf(t, r.putTo("t", 1, "c"))
	if got := r.registry.topics["t"].Partitions; got != 3 {
		t.Fatalf("the registry says %d partitions", got)
	}

	off := r.admin(SetTopic{protocol.TopicSet{Topic: "t", Config: protocol.TopicConfig{AcceptPublish: ptr(false)}}}).(protocol.TopicInfo)
	if off.Config.AcceptPublish == nil || *off.Config.AcceptPublish || r.routes.Load().Topics["t"].AcceptPublish {
		t.Fatalf("%+v", off.Config)
	}

	list := r.admin(ListTopics{}).(protocol.TopicList)
	list.Topics[0].Bytes = 0
	if diff := cmp.Diff(protocol.TopicList{Topics: []protocol.TopicSummary{{Topic: "t", Partitions: 3, Messages: 3}}}, list); diff != "" {
		t.Fatal(diff)
	}

	late := r.leader("t", 1) // a route that somebody has in hand still
	if diff := cmp.Diff(any(protocol.Done{OK: true}), r.admin(DeleteTopic{Topic: "t"})); diff != "" {
		t.Fatal(diff)
	}
	requireError(t, r.ask(late, together(Put{Ticket: r.tickets.take()})), protocol.ErrUnavailable)
	if len(r.disk.aside) != 3 || len(r.routes.Load().Topics) != 0 {
		t.Fatalf("set aside %q", r.disk.aside)
	}
	requireError(t, r.admin(DescribeTopic{"t"}), protocol.ErrNoTopic)

	r.admin(CreateTopic{protocol.TopicCreate{Topic: "t", Partitions: 1}})
	if got := offsetOf(t, r.putTo("t", 0, "new")); got != 0 {
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
		{"name", CreateTopic{protocol.TopicCreate{Topic: "a.b"}}, protocol.ErrBadName, `"a.b"`},
		{"too many partitions", CreateTopic{protocol.TopicCreate{Topic: "n", Partitions: 10_001}}, protocol.ErrBadRequest, "use 1 to 10000"},
		{"no partitions", CreateTopic{protocol.TopicCreate{Topic: "n", Partitions: -1}}, protocol.ErrBadRequest, "use 1 to 10000"},
		{"twice", CreateTopic{protocol.TopicCreate{Topic: "t"}}, protocol.ErrExists, "exists already"},
		{"configuration", CreateTopic{protocol.TopicCreate{Topic: "n", Config: protocol.TopicConfig{DeletePolicy: ptr("wrong")}}}, protocol.ErrBadRequest, "delete,168"},
		{"set what is not there", SetTopic{protocol.TopicSet{Topic: "n"}}, protocol.ErrNoTopic, `"n": see metaq topic ls`},
		{"fewer partitions", SetTopic{protocol.TopicSet{Topic: "t", Partitions: -1}}, protocol.ErrBadRequest, "use 1 to"},
		{"delete what is not there", DeleteTopic{Topic: "n"}, protocol.ErrNoTopic, `"n"`},
		{"describe what is not there", DescribeTopic{"n"}, protocol.ErrNoTopic, `"n"`},
		{"create by putting", AutoCreate{Topic: "n"}, protocol.ErrNoTopic, "metaq topic create n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := refusal(t, r.admin(tc.ask), tc.want)
			if !strings.Contains(err.Description, tc.text) {
				t.Fatalf("%q does not say %q", err.Description, tc.text)
			}
		})
	}
	r.admin(SetTopic{protocol.TopicSet{Topic: "t", Partitions: 3}})
	requireError(t, r.admin(SetTopic{protocol.TopicSet{Topic: "t", Partitions: 2}}), protocol.ErrConflict)
}

func TestARegistryThatFails(t *testing.T) {
	r, d := newRig(t, oneTopic)
	r.start(d)
	for call, ask := range map[string]any{
		"create n": CreateTopic{protocol.TopicCreate{Topic: "n"}},
		"set t":    SetTopic{protocol.TopicSet{Topic: "t", Partitions: 2}},
		"delete t": DeleteTopic{Topic: "t"},
	} {
		r.registry.setFail(call, errDisk)
		requireError(t, r.admin(ask), protocol.ErrInternal)
	}
	offsetOf(t, r.put("the topic is as before"))
	requireError(t, r.admin(DescribeTopic{"n"}), protocol.ErrNoTopic)
}

func TestOneCreationForAllPutsToATopicThatIsNotThere(t *testing.T) {
	r, d := newRig(t)
	r.start(d)
	const n = 100
	for range n {
		r.send(r.env.system.NewLocalPID(TopicsActor), AutoCreate{Topic: "t"})
	}
	for range n {
		info, ok := r.probe.next(t).(protocol.TopicInfo)
		if !ok || len(info.Partitions) != 2 || info.Partitions[0].Leader != 0 {
			t.Fatalf("%+v", info)
		}
	}
	created := 0
	for _, c := range r.registry.story() {
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
	topics := r.env.system.NewLocalPID(TopicsActor)
	r.registry.mu.Lock() // it answers nobody
	r.send(topics, DeleteTopic{Topic: "t"})
	requireError(t, r.ask(topics, DescribeTopic{"t"}), protocol.ErrUnavailable)
	requireError(t, r.ask(topics, AutoCreate{Topic: "t"}), protocol.ErrUnavailable)
	if routes := r.routes.Load(); !routes.Deleting["t"] || routes.Topics["t"] != nil {
		t.Errorf("%+v", routes)
	}
	r.registry.mu.Unlock()
	if diff := cmp.Diff(any(protocol.Done{OK: true}), r.probe.next(t)); diff != "" {
		t.Fatal(diff)
	}
	requireError(t, r.ask(topics, DescribeTopic{"t"}), protocol.ErrNoTopic)
	if n := len(r.routes.Load().Deleting); n != 0 {
		t.Errorf("%d topics are still in deletion", n)
	}
}

func TestTopicsThatPutsCreateAreBounded(t *testing.T) {
	r, d := newRig(t, oneTopic)
	d.Options.AutoCreateLimit = 2
	r.start(d)
	if _, ok := r.admin(AutoCreate{Topic: "second"}).(protocol.TopicInfo); !ok {
		t.Fatal("the second topic was not created")
	}
	if err := refusal(t, r.admin(AutoCreate{Topic: "third"}), protocol.ErrNoTopic); !strings.Contains(err.Description, "autoCreateLimit") {
		t.Error(err)
	}
	if _, ok := r.admin(AutoCreate{Topic: "second"}).(protocol.TopicInfo); !ok {
		t.Error("what is there is refused")
	}
	if _, ok := r.admin(CreateTopic{protocol.TopicCreate{Topic: "third"}}).(protocol.TopicInfo); !ok {
		t.Error("an operator's topic is refused")
	}
}

func TestConfiguredTopicsAndThoseOfTheRegistry(t *testing.T) {
	for _, tc := range []struct {
		name       string
		have, want Topic
		err        string
	}{
		{"more partitions", Topic{Name: "t", Partitions: 2}, Topic{Name: "t", Partitions: 5}, ""},
		{
			"fewer partitions",
			Topic{Name: "t", Partitions: 5},
			Topic{Name: "t", Partitions: 2},
			"topic t has 5 partitions in the registry (local) but 2 in server.ini: partitions cannot become fewer, write 5 there",
		},
		{
			"one of them says",
			Topic{Name: "t", Partitions: 1},
			Topic{Name: "t", Partitions: 1, Config: protocol.TopicConfig{DeletePolicy: ptr("delete,1")}},
			"",
		},
		{
			"both say the same",
			Topic{Name: "t", Partitions: 1, Config: protocol.TopicConfig{RetentionBytes: ptr(int64(5))}},
			Topic{Name: "t", Partitions: 1, Config: protocol.TopicConfig{RetentionBytes: ptr(int64(5))}},
			"",
		},
		{
			"they differ",
			Topic{Name: "t", Partitions: 1, Config: protocol.TopicConfig{RetentionBytes: ptr(int64(5))}},
			Topic{Name: "t", Partitions: 1, Config: protocol.TopicConfig{RetentionBytes: ptr(int64(6))}},
			"topic t has retention_bytes 5 in the registry (local) but 6 in server.ini: make them the same, or take it out of server.ini",
		},
		{"a name that is none", Topic{Name: "t", Partitions: 1}, Topic{Name: "a.b", Partitions: 1}, `server.ini: topic name "a.b" is not allowed`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newFakeRegistry(tc.have)
			got, _, err := loadTopics(t.Context(), r, []Topic{tc.want}, "server.ini", false)
			switch {
			case tc.err == "" && err != nil, tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)):
				t.Fatalf("error %v, want %q", err, tc.err)
			case err == nil && (got[0].Partitions != tc.want.Partitions || r.topics["t"].Partitions != tc.want.Partitions):
				t.Fatalf("%+v", got)
			}
		})
	}
}

// every is a Schedule.
type every time.Duration

func (e every) Next(t time.Time) (time.Time, bool) {
	return t.Truncate(time.Duration(e)).Add(time.Duration(e)), true
}

func TestRetentionComesWhenItIsDue(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, d := newRig(t, Topic{Name: "often", Partitions: 2}, Topic{Name: "seldom", Partitions: 1}, Topic{Name: "never", Partitions: 1})
		d.Resolve = func(topic string, c protocol.TopicConfig) (Settings, error) {
			if c.DeleteWhen != nil {
				topic = *c.DeleteWhen
			}
			switch topic {
			case "often":
				return Settings{RetainAt: every(time.Hour)}, nil
			case "seldom":
				return Settings{RetainAt: every(12 * time.Hour)}, nil
			}
			return Settings{}, nil
		}
		r.start(d)
		expires := func(name string) (n int) {
			r.disk.log(t, name).update(func(l *fakeLog) { n = l.expires })
			return n
		}
		time.Sleep(24*time.Hour + time.Minute) //nolint:forbidigo // the bubble's clock
		synctest.Wait()
		for name, want := range map[string]int{"often-0-0": 24, "often-0-1": 24, "seldom-0-0": 2, "never-0-0": 0} {
			if got := expires(name); got != want {
				t.Errorf("%s: %d times in a day, want %d", name, got, want)
			}
		}
		r.admin(SetTopic{protocol.TopicSet{Topic: "never", Config: protocol.TopicConfig{DeleteWhen: ptr("often")}}})
		time.Sleep(2 * time.Hour) //nolint:forbidigo // the bubble's clock
		synctest.Wait()
		if got := expires("never-0-0"); got != 2 {
			t.Errorf("%d times in two hours after the change, want 2", got)
		}
	})
}

func TestRetentionMovesTheLogStart(t *testing.T) {
	r, l := startOne(t)
	offsetOf(t, r.put("a"))
	offsetOf(t, r.put("b"))
	r.env.tell(r.leader("t", 0), expire{})
	r.wait("the log start moves", func() bool { return l.Start() == 2 })
	if got := r.admin(DescribeTopic{"t"}).(protocol.TopicInfo).Partitions[0]; got.LogStart != 2 || got.EndOffset != 2 {
		t.Fatalf("%+v", got)
	}
}

func TestManyTopicsStopWhileTheyAreChanged(t *testing.T) {
	r, d := newRig(t)
	r.start(d)
	for i := range 20 {
		r.send(r.env.system.NewLocalPID(TopicsActor), CreateTopic{protocol.TopicCreate{Topic: strings.Repeat("x", i+1), Partitions: 40}})
		if i%3 == 0 {
			r.send(r.env.system.NewLocalPID(TopicsActor), DeleteTopic{Topic: strings.Repeat("x", i+1)})
		}
	}
	if err := r.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 20 + 7 {
		r.probe.next(t)
	}
}

func TestATopicThatTheRegistrySpoilsDoesNotStopTheStart(t *testing.T) {
	good, bad := Topic{Name: "good", Partitions: 1}, Topic{Name: "bad", Partitions: 1}
	serves := func(t *testing.T, r *rig) {
		t.Helper()
		if got := offsetOf(t, r.putTo("good", 0, "a")); got != 0 {
			t.Errorf("offset %d", got)
		}
	}
	t.Run("by its settings", func(t *testing.T) {
		spoilt := bad
		spoilt.Config.DeletePolicy = ptr("wrong")
		r, d := newRig(t, good, spoilt)
		r.start(d)
		serves(t, r)
		requireError(t, r.admin(DescribeTopic{"bad"}), protocol.ErrNoTopic)
	})
	t.Run("by its settings, though it is configured", func(t *testing.T) {
		spoilt := bad
		spoilt.Config.DeletePolicy = ptr("wrong")
		r, d := newRig(t, good, spoilt)
		d.Topics = []Topic{bad}
		r.start(d)
		serves(t, r)
	})
	t.Run("by the record of its partitions", func(t *testing.T) {
		r, d := newRig(t, good, bad)
		r.registry.setFail("claim bad", fmt.Errorf("%w: garbage", ErrUnclaimable))
		r.start(d)
		serves(t, r)
		requireError(t, r.putTo("bad", 0, "a"), protocol.ErrUnavailable)
		r.registry.setFail("claim bad", nil) // somebody has corrected it
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
		r.registry.setFail("create bad", protocol.ErrExists)
		d.Topics = []Topic{bad}
		r.start(d)
		serves(t, r)
	})
}

func TestPartitionsBeyondTheLimitAreRefused(t *testing.T) {
	r, d := newRig(t, Topic{Name: "t", Partitions: 3})
	d.Options.MaxPartitions = 5
	r.start(d)
	err := refusal(t, r.admin(CreateTopic{protocol.TopicCreate{Topic: "large", Partitions: 3}}), protocol.ErrBusy)
	if !strings.Contains(err.Description, "maxPartitions") {
		t.Errorf("refused with %v", err)
	}
	requireError(t, r.admin(SetTopic{protocol.TopicSet{Topic: "t", Partitions: 6}}), protocol.ErrBusy)
	if _, ok := r.admin(CreateTopic{protocol.TopicCreate{Topic: "small", Partitions: 1}}).(protocol.TopicInfo); !ok {
		t.Error("a topic within the limit was refused")
	}
	if _, ok := r.admin(SetTopic{protocol.TopicSet{Topic: "t", Partitions: 4}}).(protocol.TopicInfo); !ok {
		t.Error("growth within the limit was refused")
	}
	requireError(t, r.admin(AutoCreate{Topic: "more"}), protocol.ErrBusy)
	if _, ok := r.admin(DeleteTopic{Topic: "small"}).(protocol.Done); !ok {
		t.Error("the topic was not deleted")
	}
	if _, ok := r.admin(CreateTopic{protocol.TopicCreate{Topic: "again", Partitions: 1}}).(protocol.TopicInfo); !ok {
		t.Error("room was not given back")
	}
}

// One client's first puts with many names leave room for those of others.
func TestOneAddressDoesNotUseUpAutoCreation(t *testing.T) {
	r, d := newRig(t)
	d.Options.AutoCreate, d.Options.AutoCreateRate = true, 2
	r.start(d)
	for _, name := range []string{"a", "b"} {
		if _, ok := r.admin(AutoCreate{Topic: name, From: "192.0.2.1"}).(protocol.TopicInfo); !ok {
			t.Fatalf("%s was not created", name)
		}
	}
	if err := refusal(t, r.admin(AutoCreate{Topic: "c", From: "192.0.2.1"}), protocol.ErrBusy); !strings.Contains(err.Description, "autoCreateRate") {
		t.Errorf("the text is %q", err.Description)
	}
	if _, ok := r.admin(AutoCreate{Topic: "a", From: "192.0.2.1"}).(protocol.TopicInfo); !ok {
		t.Error("a topic that exists is refused")
	}
	if _, ok := r.admin(AutoCreate{Topic: "d", From: "192.0.2.2"}).(protocol.TopicInfo); !ok {
		t.Error("another address cannot create a topic")
	}
}
