package system

import (
	"errors"
	"testing"
	"time"

	"metaq/actors"
	"metaq/protocol"
)

func TestProducersAreGrantedIDsFromABlock(t *testing.T) {
	r, deps := newRig(t)
	r.start(deps)
	ask := func() any {
		deps.System.Root.RequestWithCustomSender(deps.System.NewLocalPID(actors.ClusterActor), actors.GrantProducer{}, r.probe.Pid)
		return r.probe.Next(t)
	}
	seen := make(map[int64]bool)
	for range 2*blockSize + 1 {
		g, ok := ask().(protocol.ProducerGrant)
		if !ok || g.Producer <= 0 || g.Epoch != 0 || seen[g.Producer] {
			t.Fatalf("after %d grants: %+v", len(seen), g)
		}
		seen[g.Producer] = true
	}
	if taken := r.registry.BlocksAsked(); taken < 2 || taken > 6 {
		t.Errorf("%d grants took %d blocks", len(seen), taken)
	}
}

// TestNoProducerIDsWhileTheRegistryIsAway: who asks is told to try again, and what is
// left of the block goes on.
func TestNoProducerIDsWhileTheRegistryIsAway(t *testing.T) {
	r, deps := newRig(t)
	r.registry.SetFail("take producer ids", protocol.ErrUnavailable)
	deps.Options.Retry = time.Hour // who asks does not wait for it
	deps.Options.MaxRetry = time.Hour
	r.start(deps)
	ask := func() any {
		deps.System.Root.RequestWithCustomSender(deps.System.NewLocalPID(actors.ClusterActor), actors.GrantProducer{}, r.probe.Pid)
		return r.probe.Next(t)
	}
	if err, ok := ask().(error); !ok || !errors.Is(err, protocol.ErrUnavailable) {
		t.Errorf("without a block: %v", err)
	}
	r.registry.SetFail("take producer ids", nil)
	if g, ok := ask().(protocol.ProducerGrant); !ok {
		t.Fatalf("with the registry back: %v", g)
	}
	r.registry.SetFail("take producer ids", protocol.ErrUnavailable)
	for i := range blockSize - 1 {
		if g, ok := ask().(protocol.ProducerGrant); !ok {
			t.Fatalf("grant %d of the block: %v", i, g)
		}
	}
	if err, ok := ask().(error); !ok || !errors.Is(err, protocol.ErrUnavailable) {
		t.Errorf("with the block used up: %v", err)
	}
}

// The registry may be away by the time the first producer comes.
func TestTheFirstBlockOfProducerIDsIsTakenAtTheStart(t *testing.T) {
	r, deps := newRig(t)
	r.registry.SetFail("take producer ids", protocol.ErrUnavailable)
	deps.Options.Retry = time.Millisecond
	r.start(deps)
	taken := r.registry.BlocksAsked
	r.wait("a second attempt, though nobody asks", func() bool { return taken() > 1 })
	r.registry.SetFail("take producer ids", nil)
	before := taken()
	r.wait("a block", func() bool { return taken() > before })
	r.registry.SetFail("take producer ids", protocol.ErrUnavailable)
	for i := range blockSize {
		deps.System.Root.RequestWithCustomSender(deps.System.NewLocalPID(actors.ClusterActor), actors.GrantProducer{}, r.probe.Pid)
		if g, ok := r.probe.Next(t).(protocol.ProducerGrant); !ok {
			t.Fatalf("grant %d with the registry away: %v", i, g)
		}
	}
}
