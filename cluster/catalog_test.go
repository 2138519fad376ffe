package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"metaq/cluster"
	"metaq/cluster/registry"
	"metaq/cluster/registrytest"
	"metaq/internal/vfs"
	"metaq/internal/vfs/faultfs"
	"metaq/protocol"
)

var started = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func broker(id int, token string) cluster.Broker {
	return cluster.Broker{
		ID: id, Token: token, Version: "1.0", NATS: "nats://10.0.0.1:4222", Route: "nats://10.0.0.1:6222",
		Host: "10.0.0.1", ServerPort: 8123, Started: started, Checksum: 123,
	}
}

func catalog(t testing.TB, reg registry.Registry) *cluster.Catalog {
	t.Helper()
	c, err := cluster.NewCatalog(reg, "meta/")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func register(t testing.TB, reg registry.Registry, b cluster.Broker, w *cluster.Witness) *cluster.Registration {
	t.Helper()
	r, err := catalog(t, reg).Register(t.Context(), b, w)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func equal(t testing.TB, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("(-want +got)\n%s", diff)
	}
}

// dump lists every node below a path with its data, leaving out our own records.
func dump(t testing.TB, reg registry.Registry, path string) []string {
	t.Helper()
	names, err := reg.Children(t.Context(), path)
	registrytest.Check(t, err)
	var all []string
	for _, name := range names {
		child := strings.TrimSuffix(path, "/") + "/" + name
		if child == "/meta/nats" {
			continue
		}
		n, err := reg.Get(t.Context(), child)
		registrytest.Check(t, err)
		kind := ""
		if n.Owner != 0 {
			kind = " (ephemeral)"
		}
		all = append(all, fmt.Sprintf("%s = %s%s", child, n.Data, kind))
		all = append(all, dump(t, reg, child)...)
	}
	return all
}

func TestRegistrationHasMetaQsPathsAndFormats(t *testing.T) {
	reg := registrytest.Session(t, registrytest.OpenLocal(t, faultfs.New(0)).Open)
	r := register(t, reg, broker(3, "a"), nil)
	registrytest.Check(t, r.Advertise(t.Context(), []cluster.TopicAd{
		{Topic: "test", Partitions: 5, Publish: true, Subscribe: true},
		{Topic: "quiet", Partitions: 2, Subscribe: true},
	}))
	equal(t, dump(t, reg, "/meta"), []string{
		"/meta/brokers = ",
		"/meta/brokers/ids = ",
		"/meta/brokers/ids/3 = meta://10.0.0.1:8123",
		"/meta/brokers/ids/3/master = meta://10.0.0.1:8123 (ephemeral)",
		"/meta/brokers/ids/3/master_config_checksum = 123 (ephemeral)",
		"/meta/brokers/topics = ",
		"/meta/brokers/topics/quiet = ",
		"/meta/brokers/topics/quiet/3-m = 2 (ephemeral)",
		"/meta/brokers/topics/test = ",
		"/meta/brokers/topics/test/3-m = 5 (ephemeral)",
		"/meta/brokers/topics-pub = ",
		"/meta/brokers/topics-pub/test = ",
		`/meta/brokers/topics-pub/test/3-m = {"numParts":5,"broker":"3-m"} (ephemeral)`,
		"/meta/brokers/topics-sub = ",
		"/meta/brokers/topics-sub/quiet = ",
		`/meta/brokers/topics-sub/quiet/3-m = {"numParts":2,"broker":"3-m"} (ephemeral)`,
		"/meta/brokers/topics-sub/test = ",
		`/meta/brokers/topics-sub/test/3-m = {"numParts":5,"broker":"3-m"} (ephemeral)`,
		"/meta/consumers = ",
	})
	registrytest.Check(t, r.Advertise(t.Context(), []cluster.TopicAd{{Topic: "test", Partitions: 6, Publish: true}}))
	n, err := reg.Get(t.Context(), "/meta/brokers/topics-pub/test/3-m")
	registrytest.Check(t, err)
	equal(t, string(n.Data), `{"numParts":6,"broker":"3-m"}`)
	for _, gone := range []string{"topics-sub/test", "topics-sub/quiet", "topics/quiet"} {
		_, err := reg.Get(t.Context(), "/meta/brokers/"+gone+"/3-m")
		registrytest.WantErr(t, err, registry.ErrNotFound)
	}
	registrytest.Check(t, r.Leave(t.Context()))
	registrytest.Check(t, r.Leave(t.Context()))
	for _, line := range dump(t, reg, "/meta") {
		if strings.Contains(line, "ephemeral") || strings.Contains(line, "8123") {
			t.Errorf("left behind: %s", line)
		}
	}
}

func TestGroupsHaveMetaQsPathsAndFormats(t *testing.T) {
	reg := registrytest.Session(t, registrytest.OpenLocal(t, faultfs.New(0)).Open)
	r := register(t, reg, broker(0, "a"), nil)
	ctx := t.Context()
	first := cluster.GroupAd{
		Members: map[string][]string{"m1": {"test", "email"}, "m2": {"test"}},
		Owners: []cluster.OwnerAd{
			{Topic: "test", Partition: protocol.PartitionID{Home: 0, N: 0}, Member: "m1"},
			{Topic: "test", Partition: protocol.PartitionID{Home: 1, N: 3}, Member: "m2"},
		},
	}
	registrytest.WantErr(t, r.AdvertiseGroup(ctx, "g", first), cluster.ErrNotCoordinator)
	_, err := r.ClaimGroup(ctx, "g")
	registrytest.Check(t, err)
	registrytest.Check(t, r.AdvertiseGroup(ctx, "g", first))
	registrytest.Check(t, r.MirrorOffsets(ctx, []cluster.OffsetMark{{Group: "g", Topic: "test", Progress: cluster.Progress{MessageID: -5, Offset: 25}}}))
	equal(t, dump(t, reg, "/meta/consumers"), []string{
		"/meta/consumers/g = ",
		"/meta/consumers/g/ids = ",
		"/meta/consumers/g/ids/g_m1 = test,email (ephemeral)",
		"/meta/consumers/g/ids/g_m2 = test (ephemeral)",
		"/meta/consumers/g/offsets = ",
		"/meta/consumers/g/offsets/test = ",
		"/meta/consumers/g/offsets/test/0-0 = -5-25",
		"/meta/consumers/g/owners = ",
		"/meta/consumers/g/owners/test = ",
		"/meta/consumers/g/owners/test/0-0 = g_m1 (ephemeral)",
		"/meta/consumers/g/owners/test/1-3 = g_m2 (ephemeral)",
	})
	registrytest.Check(t, r.AdvertiseGroup(ctx, "g", cluster.GroupAd{Members: map[string][]string{"m2": {"test"}}, Owners: first.Owners[1:]}))
	for _, gone := range []string{"ids/g_m1", "owners/test/0-0"} {
		_, err := reg.Get(ctx, "/meta/consumers/g/"+gone)
		registrytest.WantErr(t, err, registry.ErrNotFound)
	}
	for _, bad := range []cluster.GroupAd{
		{Members: map[string][]string{"a/b": nil}},
		{Members: map[string][]string{"x\n": nil}},
		{Owners: []cluster.OwnerAd{{Topic: "a/b"}}},
	} {
		registrytest.WantErr(t, r.AdvertiseGroup(ctx, "g", bad), registry.ErrInvalid)
	}
	registrytest.Check(t, r.Leave(ctx))
	_, err = reg.Get(ctx, "/meta/consumers/g/ids/g_m2")
	registrytest.WantErr(t, err, registry.ErrNotFound)
}

func TestMetaURLPutsAnIPv6HostInBrackets(t *testing.T) {
	reg := registrytest.Session(t, registrytest.OpenLocal(t, faultfs.New(0)).Open)
	b := broker(0, "a")
	b.Host = "::1"
	register(t, reg, b, nil)
	registrytest.WantData(t, reg, "/meta/brokers/ids/0/master", "meta://[::1]:8123")
}

func TestRegisterRefusesTheIDOfAnotherLiveProcessByName(t *testing.T) {
	l := registrytest.OpenLocal(t, faultfs.New(0))
	first := registrytest.Session(t, l.Open)
	b := broker(0, "first")
	b.Host = "host-one"
	register(t, first, b, nil)
	_, err := catalog(t, registrytest.Session(t, l.Open)).Register(t.Context(), broker(0, "second"), nil)
	registrytest.WantErr(t, err, cluster.ErrBrokerIDTaken)
	for _, want := range []string{"host-one", "2026-01-02T03:04:05Z", "brokerId"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not name %q", err, want)
		}
	}
	registrytest.Check(t, first.Close())
	register(t, registrytest.Session(t, l.Open), broker(0, "second"), nil)
}

func TestRegisterRefusesTheIDOfAMetaQBroker(t *testing.T) {
	l := registrytest.OpenLocal(t, faultfs.New(0))
	java := registrytest.Session(t, l.Open)
	for _, path := range []string{"/meta", "/meta/brokers", "/meta/brokers/ids", "/meta/brokers/ids/0"} {
		registrytest.Put(t, java, path, "")
	}
	registrytest.Check(t, java.Create(t.Context(), "/meta/brokers/ids/0/master", []byte("meta://old:8123"), registry.Ephemeral))
	_, err := catalog(t, registrytest.Session(t, l.Open)).Register(t.Context(), broker(0, "a"), nil)
	registrytest.WantErr(t, err, cluster.ErrBrokerIDTaken)
	if !strings.Contains(err.Error(), "meta://old:8123") {
		t.Errorf("%q does not name the broker", err)
	}
}

func TestRegisterTakesOverItsOwnNodesAndFencesTheOldIncarnation(t *testing.T) {
	l := registrytest.OpenLocal(t, faultfs.New(0))
	before, after := registrytest.Session(t, l.Open), registrytest.Session(t, l.Open)
	ads := []cluster.TopicAd{{Topic: "test", Partitions: 5, Publish: true, Subscribe: true}}
	old := register(t, before, broker(0, "same"), nil)
	registrytest.Check(t, old.Advertise(t.Context(), ads))
	registrytest.Check(t, old.CreateTopic(t.Context(), cluster.Topic{Name: "test", Partitions: 5}))

	young := register(t, after, broker(0, "same"), nil)
	registrytest.Check(t, young.Advertise(t.Context(), ads))
	registrytest.WantErr(t, old.CreateTopic(t.Context(), cluster.Topic{Name: "late", Partitions: 1}), cluster.ErrFenced)
	_, err := old.ClaimEpochs(t.Context(), "test", make([]protocol.Epoch, 5))
	registrytest.WantErr(t, err, cluster.ErrFenced)
	registrytest.WantErr(t, old.Advertise(t.Context(), []cluster.TopicAd{{Topic: "late", Partitions: 1}}), cluster.ErrFenced)
	registrytest.Check(t, old.Leave(t.Context())) // in vain, and no harm

	// The old session's end takes nothing of the young one with it.
	registrytest.Check(t, before.Close())
	for _, path := range []string{"ids/0/master", "topics/test/0-m", "topics-pub/test/0-m", "topics-sub/test/0-m"} {
		n, err := after.Get(t.Context(), "/meta/brokers/"+path)
		if err != nil || n.Owner != after.Session() {
			t.Errorf("%s: owner %d, session %d, %v", path, n.Owner, after.Session(), err)
		}
	}
	registrytest.Check(t, young.CreateTopic(t.Context(), cluster.Topic{Name: "late", Partitions: 1}))
}

// Garbage at a broker's own id does not stop the broker, unless another process may be behind
// it.
func TestRegisterReplacesARecordThatCannotBeRead(t *testing.T) {
	const path = "/meta/nats/brokers/0"
	spoil := func(t *testing.T, reg registry.Registry) {
		t.Helper()
		n, err := reg.Get(t.Context(), path)
		registrytest.Check(t, err)
		registrytest.Check(t, reg.Multi(t.Context(), registry.Set(path, []byte("garbage"), n.Version)))
	}
	t.Run("that no session holds", func(t *testing.T) {
		reg := registrytest.Session(t, registrytest.OpenLocal(t, faultfs.New(0)).Open)
		registrytest.Check(t, register(t, reg, broker(0, "a"), nil).Leave(t.Context()))
		registrytest.Check(t, reg.Create(t.Context(), path, []byte("garbage"), registry.Persistent))
		register(t, reg, broker(0, "b"), nil)
		n, err := reg.Get(t.Context(), path)
		if err != nil || n.Owner != reg.Session() {
			t.Errorf("owner %d, session %d, %v", n.Owner, reg.Session(), err)
		}
	})
	t.Run("of its own earlier incarnation", func(t *testing.T) {
		l := registrytest.OpenLocal(t, faultfs.New(0))
		old := registrytest.Session(t, l.Open)
		register(t, old, broker(0, "same"), nil)
		spoil(t, old)
		register(t, registrytest.Session(t, l.Open), broker(0, "same"), nil)
	})
	t.Run("of another session that lives", func(t *testing.T) {
		l := registrytest.OpenLocal(t, faultfs.New(0))
		old := registrytest.Session(t, l.Open)
		register(t, old, broker(0, "first"), nil)
		spoil(t, old)
		_, err := catalog(t, registrytest.Session(t, l.Open)).Register(t.Context(), broker(0, "second"), nil)
		registrytest.WantErr(t, err, cluster.ErrRecord)
		for _, want := range []string{path, "delete the node"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q does not name %q", err, want)
			}
		}
		registrytest.Check(t, old.Close())
		register(t, registrytest.Session(t, l.Open), broker(0, "second"), nil)
	})
	t.Run("while it runs", func(t *testing.T) {
		reg := registrytest.Session(t, registrytest.OpenLocal(t, faultfs.New(0)).Open)
		r := register(t, reg, broker(0, "a"), nil)
		spoil(t, reg)
		registrytest.Check(t, r.CreateTopic(t.Context(), cluster.Topic{Name: "t", Partitions: 1}))
		brokers, err := catalog(t, reg).Brokers(t.Context())
		if err != nil || len(brokers) != 1 || brokers[0].Token != "a" {
			t.Errorf("%+v, %v", brokers, err)
		}
	})
}

func TestTopicRecords(t *testing.T) {
	reg := registrytest.Session(t, registrytest.OpenLocal(t, faultfs.New(0)).Open)
	r := register(t, reg, broker(0, "a"), nil)
	ctx := t.Context()
	policy := "delete,24"
	topic := cluster.Topic{Name: "orders", Partitions: 4, Config: protocol.TopicConfig{DeletePolicy: &policy}}
	registrytest.Check(t, r.CreateTopic(ctx, topic))
	registrytest.WantErr(t, r.CreateTopic(ctx, topic), registry.ErrExists)
	registrytest.Check(t, r.CreateTopic(ctx, cluster.Topic{Name: "a", Partitions: 1}))
	got, err := r.Topics(ctx)
	registrytest.Check(t, err)
	equal(t, got, []cluster.Topic{{Name: "a", Partitions: 1}, topic})

	topic.Partitions = 3
	registrytest.WantErr(t, r.SetTopic(ctx, topic), cluster.ErrFewerPartitions)
	topic.Partitions = 6
	registrytest.Check(t, r.SetTopic(ctx, topic))
	was, err := r.Topic(ctx, "orders")
	registrytest.Check(t, err)
	equal(t, was.Partitions, 6)
	registrytest.Check(t, r.SetTopic(ctx, was)) // version 1
	registrytest.WantErr(t, r.SetTopic(ctx, was), registry.ErrVersion)
	registrytest.WantErr(t, r.SetTopic(ctx, cluster.Topic{Name: "missing", Partitions: 1}), registry.ErrNotFound)
	for _, bad := range []cluster.Topic{{Name: "a/b", Partitions: 1}, {Name: "", Partitions: 1}, {Name: "x"}, {Name: "x", Partitions: 10_001}} {
		registrytest.WantErr(t, r.CreateTopic(ctx, bad), registry.ErrInvalid)
	}

	_, err = r.ClaimEpochs(ctx, "orders", make([]protocol.Epoch, 6))
	registrytest.Check(t, err)
	registrytest.Check(t, r.DeleteTopic(ctx, "orders"))
	registrytest.WantErr(t, r.DeleteTopic(ctx, "orders"), registry.ErrNotFound)
	partitions, err := r.Partitions(ctx, "orders")
	registrytest.Check(t, err)
	equal(t, len(partitions), 0)
	_, err = r.ClaimEpochs(ctx, "orders", make([]protocol.Epoch, 6))
	registrytest.WantErr(t, err, registry.ErrNotFound)
}

// listening is a topic that listens to filters.
func listening(name string, filters ...string) cluster.Topic {
	return cluster.Topic{Name: name, Partitions: 1, Config: protocol.TopicConfig{Subjects: &filters}}
}

func TestTopicsThatWouldListenToTheSameSubjectAreRefused(t *testing.T) {
	r := register(t, registrytest.Session(t, registrytest.OpenLocal(t, faultfs.New(0)).Open), broker(0, "a"), nil)
	ctx := t.Context()
	registrytest.Check(t, r.CreateTopic(ctx, listening("a", "a.>", "b.*")))
	err := r.CreateTopic(ctx, listening("b", "c", "*.x"))
	registrytest.WantErr(t, err, cluster.ErrSubjects)
	for _, name := range []string{"topic b", "topic a", "*.x", "a.>"} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%q does not name %s", err, name)
		}
	}
	registrytest.Check(t, r.CreateTopic(ctx, listening("b", "c")))
	registrytest.WantErr(t, r.SetTopic(ctx, listening("b", "c", "b.c")), cluster.ErrSubjects)
	registrytest.Check(t, r.SetTopic(ctx, listening("a", "a.>"))) // its own are no hindrance
	registrytest.Check(t, r.SetTopic(ctx, listening("b", "c", "b.c")))
	registrytest.Check(t, r.DeleteTopic(ctx, "b"))
	registrytest.Check(t, r.CreateTopic(ctx, listening("d", "c")))
}

func TestOneOfTwoBrokersListensWhenBothWantToAtOnce(t *testing.T) {
	l := registrytest.OpenLocal(t, faultfs.New(0))
	var then atomic.Pointer[func()]
	slow := register(t, interrupted{registrytest.Session(t, l.Open), "/meta/nats/topics", &then}, broker(0, "a"), nil)
	fast := register(t, registrytest.Session(t, l.Open), broker(1, "b"), nil)
	ctx := t.Context()
	// The faster one writes between the slower one's look and its write.
	do := func() { registrytest.Check(t, fast.CreateTopic(ctx, listening("fast", "orders.>"))) }
	then.Store(&do)
	registrytest.WantErr(t, slow.CreateTopic(ctx, listening("slow", "orders.new")), cluster.ErrSubjects)
	do = func() { registrytest.Check(t, fast.SetTopic(ctx, listening("fast", "orders.>", "bills"))) }
	then.Store(&do)
	registrytest.Check(t, slow.CreateTopic(ctx, listening("slow", "letters")))
	registrytest.WantErr(t, slow.SetTopic(ctx, listening("slow", "letters", "bills")), cluster.ErrSubjects)

	for n := range 20 {
		errs := make(chan error, 2)
		for i, r := range []*cluster.Registration{slow, fast} {
			go func() { errs <- r.CreateTopic(ctx, listening(fmt.Sprintf("t%d-%d", n, i), fmt.Sprintf("s%d", n))) }()
		}
		first, second := <-errs, <-errs
		if (first == nil) == (second == nil) {
			t.Fatalf("%v, %v", first, second)
		}
		registrytest.WantErr(t, errors.Join(first, second), cluster.ErrSubjects)
	}
}

func TestEpochsOfATopicThatIsMadeAgainGoOn(t *testing.T) {
	l := registrytest.OpenLocal(t, faultfs.New(0))
	a, b := register(t, registrytest.Session(t, l.Open), broker(0, "a"), nil), register(t, registrytest.Session(t, l.Open), broker(1, "b"), nil)
	ctx := t.Context()
	for want := range protocol.Epoch(3) {
		registrytest.Check(t, a.CreateTopic(ctx, cluster.Topic{Name: "t", Partitions: 1}))
		for _, r := range []*cluster.Registration{a, b} {
			got, err := r.ClaimEpochs(ctx, "t", make([]protocol.Epoch, 1))
			registrytest.Check(t, err)
			equal(t, got[0], want+1)
		}
		registrytest.Check(t, b.DeleteTopic(ctx, "t"))
		gone, err := a.Partitions(ctx, "t")
		registrytest.Check(t, err)
		equal(t, len(gone), 0)
	}
}

func TestTopicsOfOneNameAreToldApart(t *testing.T) {
	reg := registrytest.Session(t, registrytest.OpenLocal(t, faultfs.New(0)).Open)
	r := register(t, reg, broker(0, "a"), nil)
	ctx := t.Context()
	for want := range protocol.Epoch(3) {
		registrytest.Check(t, r.CreateTopic(ctx, cluster.Topic{Name: "t", Partitions: 1}))
		registrytest.WantErr(t, r.SetTopic(ctx, cluster.Topic{Name: "t", Partitions: 2, Born: want + 77}), cluster.ErrReplaced)
		registrytest.WantErr(t, r.DeleteTopicBorn(ctx, "t", want+77), cluster.ErrReplaced)
		registrytest.Check(t, r.SetTopic(ctx, cluster.Topic{Name: "t", Partitions: 2, Born: want}))
		got, err := r.Topic(ctx, "t")
		registrytest.Check(t, err)
		equal(t, got.Born, want)
		_, err = r.ClaimEpochs(ctx, "t", make([]protocol.Epoch, 2))
		registrytest.Check(t, err)
		registrytest.Check(t, r.DeleteTopicBorn(ctx, "t", want))
	}
	// A registry that has forgotten the topic is told.
	registrytest.Check(t, r.CreateTopic(ctx, cluster.Topic{Name: "t", Partitions: 1, Born: 9}))
	got, err := r.Topic(ctx, "t")
	registrytest.Check(t, err)
	equal(t, got.Born, protocol.Epoch(9))
}

func TestTheMirrorSaysWhichTopicItsOffsetsAreOf(t *testing.T) {
	r := register(t, registrytest.Session(t, registrytest.OpenLocal(t, faultfs.New(0)).Open), broker(0, "a"), nil)
	ctx := t.Context()
	_, err := r.ClaimGroup(ctx, "g")
	registrytest.Check(t, err)
	marks := func(born protocol.Epoch, offsets ...int64) (out []cluster.OffsetMark) {
		for n, offset := range offsets {
			out = append(out, cluster.OffsetMark{
				Group: "g", Topic: "t", Partition: protocol.PartitionID{N: n}, Born: born,
				Progress: cluster.Progress{MessageID: -1, Offset: offset},
			})
		}
		return out
	}
	for _, want := range [][]cluster.OffsetMark{marks(0, 5, 6), marks(3, 0, 6), marks(3, 1, 6), marks(4, 1, 6), marks(5, 1, 0)} {
		mirror := want
		if want[0].Born == 5 {
			mirror = want[:1] // what is not said of the new topic is 0
		}
		registrytest.Check(t, r.MirrorOffsets(ctx, mirror))
		got, err := r.Offsets(ctx, "g")
		registrytest.Check(t, err)
		equal(t, got, want)
	}
	_, err = r.DeleteGroup(ctx, "g")
	registrytest.Check(t, err)
	registrytest.Check(t, r.MirrorOffsets(ctx, marks(4, 1)))
	got, err := r.Offsets(ctx, "g")
	registrytest.Check(t, err)
	equal(t, got, marks(4, 1))
}

func TestTheNextCoordinatorKnowsWhenAGroupBegan(t *testing.T) {
	r := register(t, registrytest.Session(t, registrytest.OpenLocal(t, faultfs.New(0)).Open), broker(0, "a"), nil)
	ctx := t.Context()
	_, err := r.ClaimGroup(ctx, "g")
	registrytest.Check(t, err)
	at := time.UnixMilli(1_000_000).UTC()
	begins := []cluster.Begin{{Topic: "coming", At: at}, {Topic: "t", At: at, Born: 3, Homes: map[int]int{0: 4, 1: 4}}}
	registrytest.WantErr(t, r.MirrorBegins(ctx, "other", begins), cluster.ErrNotCoordinator)
	for range 2 { // the same again is no change
		registrytest.Check(t, r.MirrorBegins(ctx, "g", begins))
		got, err := r.Begins(ctx, "g")
		registrytest.Check(t, err)
		equal(t, got, begins)
	}
	registrytest.Check(t, r.MirrorBegins(ctx, "g", []cluster.Begin{{Topic: "coming", Gone: true}, {Topic: "never", Gone: true}}))
	got, err := r.Begins(ctx, "g")
	registrytest.Check(t, err)
	equal(t, got, begins[1:])
	_, err = r.DeleteGroup(ctx, "g")
	registrytest.Check(t, err)
	got, err = r.Begins(ctx, "g")
	registrytest.Check(t, err)
	equal(t, len(got), 0)
}

// A broker that dies within a mirror of more offsets than one Multi holds leaves none of
// an earlier topic that are said to be the new one's.
func TestABrokenMirrorIsAnEarlierTopics(t *testing.T) {
	reg := registrytest.Session(t, registrytest.OpenLocal(t, faultfs.New(0)).Open)
	flaky := &brokenMulti{Registry: reg, left: -1}
	r := register(t, flaky, broker(0, "a"), nil)
	ctx := t.Context()
	_, err := r.ClaimGroup(ctx, "g")
	registrytest.Check(t, err)
	marks := func(born protocol.Epoch, offset int64) (out []cluster.OffsetMark) {
		for n := range registry.MaxMultiOps + 1 {
			out = append(out, cluster.OffsetMark{
				Group: "g", Topic: "t", Partition: protocol.PartitionID{N: n}, Born: born,
				Progress: cluster.Progress{MessageID: -1, Offset: offset},
			})
		}
		return out
	}
	registrytest.Check(t, r.MirrorOffsets(ctx, marks(1, 500)))
	for writes := 0; ; writes++ {
		flaky.left = writes
		err := r.MirrorOffsets(ctx, marks(2, 0))
		flaky.left = -1
		got, readErr := r.Offsets(ctx, "g")
		registrytest.Check(t, readErr)
		for _, m := range got {
			if m.Born == 2 && m.Progress.Offset != 0 {
				t.Fatalf("after %d writes %+v is said to be of the new topic", writes, m)
			}
		}
		if err == nil {
			if writes < 3 {
				t.Errorf("the mirror took %d writes only", writes)
			}
			return
		}
	}
}

// brokenMulti lets some writes pass and then fails.
type brokenMulti struct {
	registry.Registry
	left int // writes that still pass; -1 for all
}

func (b *brokenMulti) Multi(ctx context.Context, ops ...registry.Op) error {
	if b.left == 0 {
		return registry.ErrSessionLost
	}
	if b.left > 0 {
		b.left--
	}
	return b.Registry.Multi(ctx, ops...)
}

func TestDeletingAGroupDropsItsOffsetsAndNoOthers(t *testing.T) {
	reg := registrytest.Session(t, registrytest.OpenLocal(t, faultfs.New(0)).Open)
	r := register(t, reg, broker(0, "a"), nil)
	ctx := t.Context()
	_, err := r.DeleteGroup(ctx, "g")
	registrytest.WantErr(t, err, cluster.ErrNotCoordinator)
	var marks []cluster.OffsetMark
	for _, group := range []string{"g", "h"} {
		_, err := r.ClaimGroup(ctx, group)
		registrytest.Check(t, err)
		for n := range 3 {
			marks = append(marks, cluster.OffsetMark{Group: group, Topic: "t", Partition: protocol.PartitionID{N: n}})
		}
	}
	registrytest.Check(t, r.MirrorOffsets(ctx, marks))
	for _, want := range []protocol.Epoch{2, 3} {
		epoch, err := r.DeleteGroup(ctx, "g")
		registrytest.Check(t, err)
		equal(t, epoch, want)
	}
	for group, want := range map[string]int{"g": 0, "h": 3} {
		left, err := r.Offsets(ctx, group)
		registrytest.Check(t, err)
		equal(t, len(left), want)
	}
	registrytest.Check(t, r.MirrorOffsets(ctx, marks[:1]))
	groups, err := r.Groups(ctx)
	registrytest.Check(t, err)
	equal(t, groups, []cluster.Group{{Name: "g", Epoch: 3, Deleted: 2}, {Name: "h", Epoch: 1}})
}

func TestClaimEpochsGoAboveEverythingThatWasSeen(t *testing.T) {
	fs := faultfs.New(0)
	l := registrytest.OpenLocal(t, fs)
	w, err := cluster.OpenWitness(fs, registrytest.DataDir, false)
	registrytest.Check(t, err)
	reg := registrytest.Session(t, l.Open)
	r := register(t, reg, broker(0, "a"), w)
	ctx := t.Context()
	registrytest.Check(t, r.CreateTopic(ctx, cluster.Topic{Name: "t", Partitions: 3}))
	claim := func(want ...protocol.Epoch) {
		t.Helper()
		got, err := r.ClaimEpochs(ctx, "t", make([]protocol.Epoch, len(want)))
		registrytest.Check(t, err)
		equal(t, got, want)
		equal(t, w.Highest("t", 0), want)
	}
	claim(1, 1, 1)
	claim(2, 2, 2)
	got, err := r.ClaimEpochs(ctx, "t", []protocol.Epoch{0, 7, 2})
	registrytest.Check(t, err)
	equal(t, got, []protocol.Epoch{3, 8, 3})
	claim(4, 9, 4, 1) // one partition more
	_, err = r.ClaimEpochs(ctx, "t", make([]protocol.Epoch, 3))
	registrytest.WantErr(t, err, cluster.ErrFewerPartitions)
	registrytest.Check(t, w.Raise(cluster.Epochs{"t": {0: {50}}}))
	claim(51, 10, 5, 2)

	partitions, err := r.Partitions(ctx, "t")
	registrytest.Check(t, err)
	equal(t, partitions[1], cluster.Partition{ID: protocol.PartitionID{Home: 0, N: 1}, Epoch: 10, Leader: 0})
}

func TestPartitionsOfAllHomesAreInOrder(t *testing.T) {
	l := registrytest.OpenLocal(t, faultfs.New(0))
	for _, id := range []int{10, 9, 0} {
		r := register(t, registrytest.Session(t, l.Open), broker(id, "a"), nil)
		if err := r.CreateTopic(t.Context(), cluster.Topic{Name: "t", Partitions: 11}); !errors.Is(err, registry.ErrExists) {
			registrytest.Check(t, err)
		}
		_, err := r.ClaimEpochs(t.Context(), "t", make([]protocol.Epoch, 11))
		registrytest.Check(t, err)
	}
	partitions, err := catalog(t, registrytest.Session(t, l.Open)).Partitions(t.Context(), "t")
	registrytest.Check(t, err)
	var want []string
	for _, home := range []int{0, 9, 10} {
		for n := range 11 {
			want = append(want, protocol.PartitionID{Home: home, N: n}.String())
		}
	}
	var got []string
	for _, p := range partitions {
		got = append(got, p.ID.String())
	}
	equal(t, got, want)
}

func TestClaimOfTenThousandPartitionsIsFewWrites(t *testing.T) {
	reg := &flaky{Registry: registrytest.Session(t, registrytest.OpenLocal(t, faultfs.New(0)).Open)}
	r := register(t, reg, broker(0, "a"), nil)
	floors := map[string][]protocol.Epoch{}
	for i := range 1000 {
		name := fmt.Sprintf("topic-%d", i)
		registrytest.Check(t, r.CreateTopic(t.Context(), cluster.Topic{Name: name, Partitions: 10}))
		floors[name] = make([]protocol.Epoch, 10)
	}
	reg.plan()
	got, err := r.ClaimAll(t.Context(), floors)
	registrytest.Check(t, err)
	equal(t, len(got), 1000)
	for name, epochs := range got {
		if len(epochs) != 10 || epochs[9] != 1 {
			t.Fatalf("%s: %v", name, epochs)
		}
	}
	if n := reg.count(); n > 5 {
		t.Fatalf("%d writes", n)
	}
	// One topic of as many partitions as there can be is one node.
	registrytest.Check(t, r.CreateTopic(t.Context(), cluster.Topic{Name: "wide", Partitions: protocol.MaxPartitions}))
	_, err = r.ClaimEpochs(t.Context(), "wide", make([]protocol.Epoch, protocol.MaxPartitions))
	registrytest.Check(t, err)
}

// TestUnknownOutcomesAreSettled lets connections break in all the ways at a write; the
// caller gets the outcome that really was.
func TestUnknownOutcomesAreSettled(t *testing.T) {
	for _, faults := range [][]fault{
		{passes},
		{lostReply},
		{lostWrite},
		{lateWrite},
		{lostWrite, lostReply},
		{lateWrite, lostWrite, lateWrite},
		{lateWrite, lateWrite, lostReply},
	} {
		t.Run(fmt.Sprint(faults), func(t *testing.T) {
			reg := &flaky{Registry: registrytest.Session(t, registrytest.OpenLocal(t, faultfs.New(0)).Open)}
			r := register(t, reg, broker(0, "a"), nil)
			ctx := t.Context()
			reg.plan(faults...)
			registrytest.Check(t, r.CreateTopic(ctx, cluster.Topic{Name: "t", Partitions: 1}))
			registrytest.WantErr(t, r.CreateTopic(ctx, cluster.Topic{Name: "t", Partitions: 1}), registry.ErrExists)
			reg.plan(faults...)
			epochs, err := r.ClaimEpochs(ctx, "t", make([]protocol.Epoch, 1))
			registrytest.Check(t, err)
			recorded, err := r.Partitions(ctx, "t")
			registrytest.Check(t, err)
			equal(t, epochs[0], recorded[0].Epoch)
			reg.plan(faults...)
			epoch, err := r.ClaimGroup(ctx, "g")
			registrytest.Check(t, err)
			group, err := r.Group(ctx, "g")
			registrytest.Check(t, err)
			equal(t, epoch, group.Epoch)
			reg.plan(faults...)
			mark := cluster.OffsetMark{Group: "g", Topic: "t", Partition: protocol.PartitionID{}, Progress: cluster.Progress{MessageID: -5, Offset: 7}}
			registrytest.Check(t, r.MirrorOffsets(ctx, []cluster.OffsetMark{mark}))
			reg.plan(faults...)
			mark.Progress.Offset = 8
			registrytest.Check(t, r.MirrorOffsets(ctx, []cluster.OffsetMark{mark}))
			registrytest.WantData(t, reg, "/meta/consumers/g/offsets/t/0-0", "-5-8")
			reg.plan(faults...)
			registrytest.Check(t, r.DeleteTopic(ctx, "t"))
			reg.plan(faults...)
			register(t, reg, broker(0, "a"), nil)
		})
	}
}

func TestGroupsHaveOneLiveCoordinator(t *testing.T) {
	l := registrytest.OpenLocal(t, faultfs.New(0))
	ctx := t.Context()
	first := registrytest.Session(t, l.Open)
	a := register(t, first, broker(0, "a"), nil)
	b := register(t, registrytest.Session(t, l.Open), broker(1, "b"), nil)
	epoch, err := a.ClaimGroup(ctx, "g")
	registrytest.Check(t, err)
	equal(t, epoch, protocol.Epoch(1))
	_, err = b.ClaimGroup(ctx, "g")
	var held *cluster.CoordinatedError
	if !errors.As(err, &held) || held.Leader != 0 || held.Epoch != 1 {
		t.Fatalf("claim of a held group: %v", err)
	}
	mark := []cluster.OffsetMark{{Group: "g", Topic: "t", Progress: cluster.Progress{MessageID: -1}}}
	registrytest.WantErr(t, b.MirrorOffsets(ctx, mark), cluster.ErrNotCoordinator)
	registrytest.Check(t, a.MirrorOffsets(ctx, mark))

	registrytest.Check(t, first.Close()) // the coordinator's broker goes
	epoch, err = b.ClaimGroup(ctx, "g")
	registrytest.Check(t, err)
	equal(t, epoch, protocol.Epoch(2))
	group, err := b.Group(ctx, "g")
	registrytest.Check(t, err)
	equal(t, group, cluster.Group{Name: "g", Epoch: 2, Leader: 1})
}

func TestMirroredOffsetsAreFencedByANewerCoordinator(t *testing.T) {
	l := registrytest.OpenLocal(t, faultfs.New(0))
	ctx := t.Context()
	a := register(t, registrytest.Session(t, l.Open), broker(0, "a"), nil)
	_, err := a.ClaimGroup(ctx, "g")
	registrytest.Check(t, err)
	mark := func(offset int64) []cluster.OffsetMark {
		return []cluster.OffsetMark{{Group: "g", Topic: "t", Progress: cluster.Progress{MessageID: -1, Offset: offset}}}
	}
	registrytest.Check(t, a.MirrorOffsets(ctx, mark(1)))
	// Broker 0 seems to be gone: its node is not there for a moment.
	other := registrytest.Session(t, l.Open)
	b := register(t, other, broker(1, "b"), nil)
	n, err := other.Get(ctx, "/meta/nats/brokers/0")
	registrytest.Check(t, err)
	registrytest.Check(t, other.Delete(ctx, "/meta/nats/brokers/0", n.Version))
	_, err = b.ClaimGroup(ctx, "g")
	registrytest.Check(t, err)
	registrytest.Check(t, b.MirrorOffsets(ctx, mark(5)))
	registrytest.WantErr(t, a.MirrorOffsets(ctx, mark(3)), cluster.ErrFenced)
	_, err = a.DeleteGroup(ctx, "g")
	registrytest.WantErr(t, err, cluster.ErrFenced)
	registrytest.WantData(t, other, "/meta/consumers/g/offsets/t/0-0", "-1-5")
}

// A broker that was killed and comes back mirrors what it had not mirrored, for the groups
// that are still its own, without claims that would change their epochs.
func TestARestartedBrokerHoldsTheGroupsThatNobodyTookSince(t *testing.T) {
	l := registrytest.OpenLocal(t, faultfs.New(0))
	ctx := t.Context()
	s := registrytest.Session(t, l.Open)
	first := register(t, s, broker(0, "a"), nil)
	mark := func(group string, offset int64) []cluster.OffsetMark {
		return []cluster.OffsetMark{{Group: group, Topic: "t", Progress: cluster.Progress{MessageID: -1, Offset: offset}}}
	}
	for _, group := range []string{"kept", "claimed-again", "deleted", "moved"} {
		_, err := first.ClaimGroup(ctx, group)
		registrytest.Check(t, err)
	}
	registrytest.Check(t, first.MirrorOffsets(ctx, mark("kept", 1)))
	// What its log did not come to know.
	_, err := first.ClaimGroup(ctx, "claimed-again")
	registrytest.Check(t, err)
	_, err = first.DeleteGroup(ctx, "deleted")
	registrytest.Check(t, err)
	registrytest.Check(t, s.Close())

	other := register(t, registrytest.Session(t, l.Open), broker(1, "b"), nil)
	_, err = other.ClaimGroup(ctx, "moved")
	registrytest.Check(t, err)
	reg := &flaky{Registry: registrytest.Session(t, l.Open)}
	again := register(t, reg, broker(0, "a"), nil)
	held, err := again.HoldGroups(ctx, map[string]protocol.Epoch{"kept": 1, "claimed-again": 1, "deleted": 1, "moved": 1, "never": 0})
	registrytest.Check(t, err)
	equal(t, held, []string{"claimed-again", "kept"})
	registrytest.Check(t, again.MirrorOffsets(ctx, mark("kept", 1))) // it is there
	registrytest.WantData(t, reg, "/meta/consumers/kept/offsets/t/0-0", "-1-1")
	registrytest.Check(t, again.MirrorOffsets(ctx, append(mark("kept", 5), mark("claimed-again", 6)...)))
	registrytest.WantData(t, reg, "/meta/consumers/kept/offsets/t/0-0", "-1-5")
	registrytest.WantData(t, reg, "/meta/consumers/claimed-again/offsets/t/0-0", "-1-6")
	registrytest.WantErr(t, again.MirrorOffsets(ctx, mark("moved", 9)), cluster.ErrNotCoordinator)

	// It has the right to it no longer than that: another coordinator's offsets stay.
	n, err := reg.Get(ctx, "/meta/nats/brokers/0")
	registrytest.Check(t, err)
	registrytest.Check(t, reg.Delete(ctx, "/meta/nats/brokers/0", n.Version))
	_, err = other.ClaimGroup(ctx, "kept")
	registrytest.Check(t, err)
	registrytest.WantErr(t, again.MirrorOffsets(ctx, mark("kept", 7)), cluster.ErrFenced)
}

// Offsets that are in the registry already are not written again after a start, and whether
// they may be is looked at all the same.
func TestMirroringWhatIsThereWritesNothing(t *testing.T) {
	l := registrytest.OpenLocal(t, faultfs.New(0))
	ctx := t.Context()
	a := register(t, registrytest.Session(t, l.Open), broker(0, "a"), nil)
	_, err := a.ClaimGroup(ctx, "g")
	registrytest.Check(t, err)
	mark := []cluster.OffsetMark{{Group: "g", Topic: "t", Progress: cluster.Progress{MessageID: -1, Offset: 4}}}
	registrytest.Check(t, a.MirrorOffsets(ctx, mark))
	s := registrytest.Session(t, l.Open)
	again := register(t, s, broker(0, "a"), nil)
	_, err = again.ClaimGroup(ctx, "g")
	registrytest.Check(t, err)
	before, err := s.Get(ctx, "/meta/consumers/g/offsets/t/0-0")
	registrytest.Check(t, err)
	registrytest.Check(t, again.MirrorOffsets(ctx, mark))
	after, err := s.Get(ctx, "/meta/consumers/g/offsets/t/0-0")
	registrytest.Check(t, err)
	equal(t, after.Version, before.Version)

	third := register(t, registrytest.Session(t, l.Open), broker(0, "a"), nil)
	_, err = third.ClaimGroup(ctx, "g")
	registrytest.Check(t, err)
	registrytest.WantErr(t, again.MirrorOffsets(ctx, []cluster.OffsetMark{{Group: "g", Topic: "u"}}), cluster.ErrFenced)
}

func TestMirrorOffsetsWritesOnlyWhatChanged(t *testing.T) {
	reg := &flaky{Registry: registrytest.Session(t, registrytest.OpenLocal(t, faultfs.New(0)).Open)}
	r := register(t, reg, broker(0, "a"), nil)
	ctx := t.Context()
	_, err := r.ClaimGroup(ctx, "g")
	registrytest.Check(t, err)
	var marks []cluster.OffsetMark
	for n := range 500 {
		marks = append(marks, cluster.OffsetMark{
			Group: "g", Topic: "t", Partition: protocol.PartitionID{Home: 1, N: n}, Progress: cluster.Progress{MessageID: -3, Offset: int64(n)},
		})
	}
	registrytest.Check(t, r.MirrorOffsets(ctx, marks))
	reg.plan()
	registrytest.Check(t, r.MirrorOffsets(ctx, marks))
	equal(t, reg.count(), 0)
	marks[7].Progress.Offset = 99
	registrytest.Check(t, r.MirrorOffsets(ctx, marks))
	equal(t, reg.count(), 1)
	registrytest.WantData(t, reg, "/meta/consumers/g/offsets/t/1-7", "-3-99")
	got, err := r.Offsets(ctx, "g")
	registrytest.Check(t, err)
	equal(t, got, marks)
	for i := range marks {
		marks[i].Progress.Offset++
	}
	registrytest.Check(t, r.MirrorOffsets(ctx, marks))
	equal(t, reg.count(), 2)
}

func TestOffsetsOfUnmodifiedConsumersAreRead(t *testing.T) {
	for text, want := range map[string]cluster.Progress{
		"-5468928392185249792-25": {MessageID: -5468928392185249792, Offset: 25},
		"17-4096":                 {MessageID: 17, Offset: 4096},
		"-1-0":                    {MessageID: -1},
		"4096":                    {MessageID: -1, Offset: 4096},
	} {
		got, err := cluster.ParseProgress(text)
		registrytest.Check(t, err)
		equal(t, got, want)
	}
	for _, bad := range []string{"", "-", "x", "1-", "1-x", "-7", "1--7", "9999999999999999999-1"} {
		_, err := cluster.ParseProgress(bad)
		registrytest.WantErr(t, err, cluster.ErrRecord)
	}
}

func TestWitnessKeepsTheHighest(t *testing.T) {
	fs := faultfs.New(0)
	registrytest.Check(t, fs.MkdirAll(registrytest.DataDir))
	open := func() *cluster.Witness {
		t.Helper()
		w, err := cluster.OpenWitness(fs, registrytest.DataDir, false)
		registrytest.Check(t, err)
		return w
	}
	w := open()
	registrytest.Check(t, w.Raise(cluster.Epochs{"t": {0: {3, 3}, 1: {1}}}))
	registrytest.Check(t, w.Raise(cluster.Epochs{"t": {0: {2, 5, 1}}, "u": {0: {1}}}))
	w = open()
	equal(t, w.Highest("t", 0), []protocol.Epoch{3, 5, 1})
	equal(t, w.Highest("t", 1), []protocol.Epoch{1})
	got := w.Seen().Regressions("t", []cluster.Partition{
		{ID: protocol.PartitionID{N: 0}, Epoch: 3}, {ID: protocol.PartitionID{N: 1}, Epoch: 4}, {ID: protocol.PartitionID{N: 9}},
	})
	equal(t, got, []cluster.Regression{{Topic: "t", Partition: protocol.PartitionID{N: 1}, Registry: 4, Witnessed: 5}})

	registrytest.Damage(t, fs, registrytest.DataDir+"/witness")
	equal(t, open().Highest("t", 0), []protocol.Epoch{3, 3})
	registrytest.Damage(t, fs, registrytest.DataDir+"/witness.prev")
	_, err := cluster.OpenWitness(fs, registrytest.DataDir, false)
	registrytest.WantErr(t, err, vfs.ErrDamaged)
	w, err = cluster.OpenWitness(fs, registrytest.DataDir, true)
	registrytest.Check(t, err)
	equal(t, len(w.Highest("t", 0)), 0)
}

func TestEpochsOfOffsetsKeepToMetaQsForm(t *testing.T) {
	for text, want := range map[string]protocol.Epoch{
		"-1-41": 0, "-6-41": 5, "-4294967296-41": 1<<32 - 1,
		"17-41": 0, "0-41": 0, "-4294967297-41": 0, "-5468928392185249792-41": 0, // MetaQ's ids
	} {
		p, err := cluster.ParseProgress(text)
		registrytest.Check(t, err)
		equal(t, p.Epoch(), want)
		if want > 0 {
			equal(t, cluster.ProgressAt(41, want).String(), text)
		}
	}
	equal(t, cluster.ProgressAt(41, 0).String(), "-1-41")
}
