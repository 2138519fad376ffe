package cluster_test

import (
	"errors"
	"testing"
	"time"

	"metaq/internal/vfs/faultfs"

	"metaq/cluster"
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
