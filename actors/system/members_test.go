package system

import (
	"context"
	"sync"
	"testing"

	"github.com/asynkron/protoactor-go/actor"

	"metaq/actors"
	"metaq/actors/actorstest"
	"metaq/protocol"
)

// fakeCluster is a cluster of this broker alone, whose registry others change.
type fakeCluster struct {
	actors.Cluster // panics where nothing is expected
	fates          chan actors.Fate

	mu      sync.Mutex // guards what follows
	deliver func(*actors.Members)
	now     *actors.Members
}

func (c *fakeCluster) Follow(deliver func(*actors.Members)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deliver = deliver
	deliver(c.now)
}

func (c *fakeCluster) show(m *actors.Members) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = m
	if c.deliver != nil {
		c.deliver(m)
	}
}

func (c *fakeCluster) Fate(ctx context.Context, _ string) (actors.Fate, error) {
	select {
	case f := <-c.fates:
		return f, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// answers gives the same fate to whoever asks from now on.
func (c *fakeCluster) answers(t *testing.T, f actors.Fate) {
	go func() {
		for {
			select {
			case c.fates <- f:
			case <-t.Context().Done():
				return
			}
		}
	}()
}

func (c *fakeCluster) Leader(string, protocol.PartitionID) *actor.PID { return nil }

// membersWith is this broker alone with topic t, whose partitions here are claimed or not.
func membersWith(claimed int) *actors.Members {
	m := &actors.Members{Brokers: []protocol.BrokerInfo{{}}}
	t := actors.MemberTopic{Topic: actors.Topic{Name: "t", Partitions: 1}}
	for n := range claimed {
		t.Claimed = append(t.Claimed, protocol.PartitionID{N: n})
	}
	m.Topics = []actors.MemberTopic{t}
	return m
}

// newMemberRig is a started broker of a cluster with topic t, which holds one message.
func newMemberRig(t *testing.T) (*rig, *fakeCluster) {
	t.Helper()
	r, d := newRig(t, actors.Topic{Name: "t", Partitions: 1})
	c := &fakeCluster{fates: make(chan actors.Fate), now: membersWith(1)}
	d.Cluster = c
	r.start(d)
	actorstest.OffsetOf(t, r.putTo("t", 0, "old"))
	return r, c
}

// empty waits for topic t without messages.
func (r *rig) empty() {
	r.t.Helper()
	r.wait("an empty topic", func() bool {
		info, ok := r.admin(actors.DescribeOwn{Topic: "t"}).(protocol.TopicInfo)
		return ok && len(info.Partitions) == 1 && info.Partitions[0].Leader == 0 && info.Partitions[0].EndOffset == 0
	})
}

func TestATopicThatWasDeletedAndMadeAgainBeginsEmpty(t *testing.T) {
	r, c := newMemberRig(t)
	c.show(membersWith(0))
	c.fates <- actors.FateReplaced
	c.answers(t, actors.FateUnclaimed) // it is there
	r.empty()
	if got := actorstest.OffsetOf(t, r.putTo("t", 0, "new")); got != 0 {
		t.Errorf("the first message has offset %d", got)
	}
}

func TestATopicThatIsMadeAgainBeforeItHasGoneHereIsOpened(t *testing.T) {
	r, c := newMemberRig(t)
	c.show(&actors.Members{Brokers: []protocol.BrokerInfo{{}}})
	c.fates <- actors.FateDeleted // as the registry was when it was asked
	c.show(membersWith(0))
	c.answers(t, actors.FateUnclaimed)
	r.empty()
}

func TestATopicThatIsDeletedWhileItIsOpenedGoes(t *testing.T) {
	r, d := newRig(t)
	c := &fakeCluster{fates: make(chan actors.Fate), now: &actors.Members{Brokers: []protocol.BrokerInfo{{}}}}
	d.Cluster = c
	r.start(d)
	r.registry.SetFail("claim t", protocol.ErrNoTopic.With("gone"))
	c.show(membersWith(0)) // another broker has made it, and has deleted it by now
	c.fates <- actors.FateDeleted
	c.show(&actors.Members{Brokers: []protocol.BrokerInfo{{}}})
	r.wait("the topic to go", func() bool {
		_, there := r.admin(actors.DescribeOwn{Topic: "t"}).(protocol.TopicInfo)
		return !there
	})
}
