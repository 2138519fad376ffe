package cluster_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"metaq/cluster"
	"metaq/internal/vfs/faultfs"
	"metaq/protocol"
)

// A caller is told that nothing will happen only when that is so: an earlier attempt of the
// same call may arrive while a later one is refused.
func TestAWriteThatMayStillArriveIsNotToldAsUndone(t *testing.T) {
	l := openLocal(t, faultfs.New(0))
	reg := &flaky{Registry: session(t, l.Open)}
	r := register(t, reg, broker(0, "a"), nil)
	ctx := testContext(t)
	topic := cluster.Topic{Name: "t", Partitions: 1}

	reg.plan(refused)
	err := r.CreateTopic(ctx, topic)
	wantErr(t, err, cluster.ErrUnavailable)
	if errors.Is(err, cluster.ErrUnknownOutcome) {
		t.Errorf("%v of a write that was never handed over", err)
	}
	reg.plan(lateWrite, refused)
	wantErr(t, r.CreateTopic(ctx, topic), cluster.ErrUnknownOutcome)
	_, err = r.Topic(ctx, "t")
	check(t, err) // it did arrive
	reg.plan()
	wantErr(t, r.CreateTopic(ctx, topic), cluster.ErrExists)
}

func TestAMemberKnowsThatTheRegistryIsAway(t *testing.T) {
	l := openLocal(t, faultfs.New(0))
	var sessions losing
	m, _ := join(t, cluster.MemberOptions{Open: sessions.opener(l.Open), Broker: broker(0, "a"), Audit: time.Hour, Retry: time.Millisecond})
	check(t, m.Away())
	check(t, l.Close()) // the session is lost, and there is no other one
	eventually(t, "that the registry is away", func() bool { return errors.Is(m.Away(), cluster.ErrUnavailable) })
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
			l := openLocal(t, faultfs.New(0))
			var then atomic.Pointer[func()]
			frozen := register(t, interrupted{session(t, l.Open), "/meta/nats/topics/t", &then}, broker(0, "a"), nil)
			other := register(t, session(t, l.Open), broker(1, "b"), nil)
			ctx := testContext(t)
			topic := cluster.Topic{Name: "t", Partitions: 1}
			check(t, other.CreateTopic(ctx, topic)) // nobody ever claims a partition
			again := func() {
				check(t, other.DeleteTopic(ctx, "t"))
				check(t, other.CreateTopic(ctx, topic))
			}
			then.Store(&again)
			wantErr(t, write(frozen), cluster.ErrReplaced)
			got, err := other.Topic(ctx, "t")
			check(t, err)
			equal(t, got.Partitions, 1)
			equal(t, got.Born, protocol.Epoch(1))
		})
	}
}
