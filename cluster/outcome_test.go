package cluster_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"metaq/cluster"
	"metaq/cluster/registry"
	"metaq/cluster/registrytest"
	"metaq/internal/vfs/faultfs"
	"metaq/protocol"
)

// A caller is told that nothing will happen only when that is so: an earlier attempt of the
// same call may arrive while a later one is refused.
func TestAWriteThatMayStillArriveIsNotToldAsUndone(t *testing.T) {
	l := registrytest.OpenLocal(t, faultfs.New(0))
	reg := &flaky{Registry: registrytest.Session(t, l.Open)}
	r := register(t, reg, broker(0, "a"), nil)
	ctx := registrytest.Context(t)
	topic := cluster.Topic{Name: "t", Partitions: 1}

	reg.plan(refused)
	err := r.CreateTopic(ctx, topic)
	registrytest.WantErr(t, err, registry.ErrUnavailable)
	if errors.Is(err, registry.ErrUnknownOutcome) {
		t.Errorf("%v of a write that was never handed over", err)
	}
	reg.plan(lateWrite, refused)
	registrytest.WantErr(t, r.CreateTopic(ctx, topic), registry.ErrUnknownOutcome)
	_, err = r.Topic(ctx, "t")
	registrytest.Check(t, err) // it did arrive
	reg.plan()
	registrytest.WantErr(t, r.CreateTopic(ctx, topic), registry.ErrExists)
}

func TestAMemberKnowsThatTheRegistryIsAway(t *testing.T) {
	l := registrytest.OpenLocal(t, faultfs.New(0))
	var sessions losing
	m, _ := join(t, cluster.MemberOptions{Open: sessions.opener(l.Open), Broker: broker(0, "a"), Audit: time.Hour, Retry: time.Millisecond})
	registrytest.Check(t, m.Away())
	registrytest.Check(t, l.Close()) // the session is lost, and there is no other one
	registrytest.Eventually(t, "that the registry is away", func() bool { return errors.Is(m.Away(), registry.ErrUnavailable) })
}

// A broker stands still between its look at a topic and its write; another one deletes the
// topic and makes it again, whose record then has the same version as before.
func TestAWriteThatComesLateLeavesTheNextTopicAlone(t *testing.T) {
	for name, write := range map[string]func(*cluster.Registration) error{
		"delete": func(r *cluster.Registration) error { return r.DeleteTopicBorn(t.Context(), "t", 0) },
		"set": func(r *cluster.Registration) error {
			return r.SetTopic(t.Context(), cluster.Topic{Name: "t", Partitions: 9})
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := registrytest.OpenLocal(t, faultfs.New(0))
			var then atomic.Pointer[func()]
			frozen := register(t, interrupted{registrytest.Session(t, l.Open), "/meta/nats/topics/t", &then}, broker(0, "a"), nil)
			other := register(t, registrytest.Session(t, l.Open), broker(1, "b"), nil)
			ctx := registrytest.Context(t)
			topic := cluster.Topic{Name: "t", Partitions: 1}
			registrytest.Check(t, other.CreateTopic(ctx, topic)) // nobody ever claims a partition
			again := func() {
				registrytest.Check(t, other.DeleteTopic(ctx, "t"))
				registrytest.Check(t, other.CreateTopic(ctx, topic))
			}
			then.Store(&again)
			registrytest.WantErr(t, write(frozen), cluster.ErrReplaced)
			got, err := other.Topic(ctx, "t")
			registrytest.Check(t, err)
			equal(t, got.Partitions, 1)
			equal(t, got.Born, protocol.Epoch(1))
		})
	}
}
