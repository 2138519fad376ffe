package group

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/prometheus/client_golang/prometheus"

	"metaq/actors"
	"metaq/actors/group/core"
	"metaq/protocol"
)

// looked tells the gateway that a request lies in no mailbox any more.
func looked(m *actors.GroupRequest) {
	if m.Looked != nil {
		m.Looked()
	}
}

// CoordinatedElsewhere is what Coordination.ClaimGroup returns when another broker,
// which is alive, coordinates the group.
type CoordinatedElsewhere struct{ Broker int }

// Error names the broker.
func (e *CoordinatedElsewhere) Error() string {
	return fmt.Sprintf("broker %d coordinates the group", e.Broker)
}

// Coordination is what groups need from the registry of a cluster. Its calls may
// block until ctx ends, so actors make them on a worker; they may come from any
// goroutine.
type Coordination interface {
	// ClaimGroup makes this broker the group's coordinator. Each claim, also one
	// of what is held already, gives the epoch after the last one.
	// *CoordinatedElsewhere when another broker has it.
	ClaimGroup(ctx context.Context, group string) (protocol.Epoch, error)
	// GroupRecorded reports whether the registry has a record of the group, which its first
	// claim makes and which stays.
	GroupRecorded(ctx context.Context, group string) (bool, error)
	// Holds reports whether groups that were claimed in a term are certainly still coordinated
	// by this broker. Whoever is not sure of that must not answer a member as if it were: in a
	// term that is over another broker may have claimed the group; in the present one the
	// registry has not answered for so long that nobody knows.
	Holds(term uint64) bool
	// Term is the term of claims that begin from now on.
	Term() uint64
	// Sighted returns another broker that said a little while ago that it sees the registry.
	Sighted() (int, bool)
	// HeldGroups returns those groups that this broker coordinated in the given epochs, or in
	// the next ones, and still does: nobody else has claimed or deleted them since. Their
	// offsets may be mirrored from then on without another claim.
	HeldGroups(ctx context.Context, epochs map[string]protocol.Epoch) ([]string, error)
	// GroupOffsets reads the mirrored offsets of a group, whoever wrote them.
	GroupOffsets(ctx context.Context, group string) (Mirror, error)
	// MirrorOffsets writes what changed, by group: begins before offsets. It is called at
	// most once a GroupsDeps.SyncTime, and when groups have begun; after an error the same offsets, or newer ones, come
	// again.
	MirrorOffsets(ctx context.Context, changed map[string]Mirror) error
	// DeleteGroup deletes the mirrored offsets of a group that is claimed, notes that the
	// group was deleted, and gives the epoch of a group of that name that comes after.
	// After an error it is not known whether the group is deleted; the next claim tells.
	// It never runs beside MirrorOffsets.
	DeleteGroup(ctx context.Context, group string) (protocol.Epoch, error)
	// Away returns why the registry cannot be expected to answer now, or nil. It does not
	// block.
	Away() error
}

// Mirror is what the registry has of a group's progress.
type Mirror struct {
	Offsets []protocol.GroupPosition
	// Born says of which topics the offsets are, see Topic.Born; it may have more topics,
	// and lacks those that are 0. It never goes down in the registry.
	Born map[string]protocol.Epoch
	// Begins are when the group began in its topics, in an entry of its own for each.
	Begins []core.Begin
	// Deleted is the epoch in which the group was deleted last, by any broker: what a log
	// knows of it from that epoch, or from one before, is over. For reading only.
	Deleted protocol.Epoch
}

// Deps is what StartGroups needs from the assembly. Fields without the word
// "optional" must be set.
type Deps struct {
	System   *actor.ActorSystem
	BrokerID int
	// OpenLog recovers the log of the groups, or creates it. It is called on a
	// worker, and again after the log has failed. Segments of about 1 MiB suit.
	OpenLog func() (actors.Log, error)
	// Coordination (optional): without it this broker coordinates all groups.
	Coordination Coordination
	// Gather (optional) makes the list of all brokers' groups, given that of this one's
	// log. It may block for some seconds; it is called on a worker.
	Gather func(own protocol.GroupList) protocol.GroupList
	// SyncTime is the time between two mirrors of offsets. Default 5 s. Short costs
	// writes to the registry; long lets groups process more again when another
	// broker takes over.
	SyncTime time.Duration
	Logger   *slog.Logger
	Metrics  prometheus.Registerer // optional
	Now      func() time.Time      // optional, default time.Now
	Events   actors.Events         // optional: Settle
	// Retry and MaxRetry are the first and the longest wait before the log is
	// opened again, or a group claimed again. Defaults 100 ms and 30 s.
	Retry, MaxRetry time.Duration
	// Idle is how long a group without members keeps its actor. Default 1 min.
	Idle time.Duration
	// LagTime is the time between two looks at the lag of groups, for
	// the metrics. Default 15 s.
	LagTime time.Duration
	// SnapshotBytes is how much is logged between two snapshots, which let older
	// segments go. Default 1 MiB; at least four times a snapshot's size is used.
	SnapshotBytes int64
	// MaxGroups is the number of groups from which on no new one begins. Default 10,000.
	MaxGroups int
	// Forget is how long a group without members and without offsets is kept. Default 1 h.
	Forget time.Duration
	// MaxState is the most bytes that the names and topics of a group's members may have
	// together; a join beyond is refused. Default 1 MiB.
	MaxState int
	maxEntry int // bytes; tests lower it
	// Realign lets a group whose offset is not in the log any more go back to where the
	// logs part. Without it the group stops there and says so.
	Realign bool
	// Plant (optional) names a bug that a test plants to prove that the checker of real
	// processes sees it, such as "skip the release". A name that is not known is an error.
	Plant string
}

func (d Deps) withDefaults() Deps {
	actors.SetDefault(&d.SyncTime, 5*time.Second)
	actors.SetDefault(&d.Retry, 100*time.Millisecond)
	actors.SetDefault(&d.MaxRetry, 30*time.Second)
	actors.SetDefault(&d.Idle, time.Minute)
	actors.SetDefault(&d.LagTime, 15*time.Second)
	actors.SetDefault(&d.SnapshotBytes, 1<<20)
	actors.SetDefault(&d.MaxState, core.DefaultMaxState)
	actors.SetDefault(&d.MaxGroups, 10_000)
	actors.SetDefault(&d.Forget, time.Hour)
	actors.SetDefault(&d.maxEntry, core.MaxEntry)
	if d.Now == nil {
		d.Now = time.Now
	}
	return d
}

// Messages between the groups actor, its groups, workers and timers.
type (
	groupsFlush  struct{}
	groupsOpened struct {
		store  actors.Log
		images core.Images
		err    error
	}
	groupsRoutes struct {
		routes *actors.Routes
		topics map[string]core.Topic // all that there are
	}
	groupsStop struct{ final bool } // final: the actor stops as well
	disown     struct{}             // claims may be lost
	groupsEnd  struct{}             // all groups have stopped
	groupsHeld struct {             // see Coordination.HeldGroups
		attempt int
		groups  []string
		err     error
	}
	lookHeld   struct{ attempt int }
	mirrorDue  struct{}
	mirrorDone struct {
		offsets map[string]Mirror
		err     error
	}
	groupDeleted struct {
		group string
		epoch protocol.Epoch // of what comes after
		err   error
	}
	groupClaimed struct {
		group   string
		epoch   protocol.Epoch
		term    uint64
		mirror  Mirror
		foreign bool // the mirror is the truth: another broker coordinated the group
		absent  bool // nothing was claimed: there is no such group
		err     error
	}
	groupWrite struct { // from a group; answered with groupWritten
		entry core.Entry
		value []byte       // entry, encoded
		heard actors.Heard // of a deletion
		from  *actor.PID
		seq   uint64
	}
	groupWritten struct{ seq uint64 }
	groupAbandon struct{ refusal *protocol.Error } // what the group decided is not in the log
	groupIdle    struct {                          // from a group that could go
		group    string
		requests uint64
	}
	groupLost struct { // from a group whose claim is over
		group string
		who   *actor.PID
	}
	groupTick struct{ generation uint64 }
	lagDue    struct{}
	groupThen struct { // the rest of a request, after a worker's part
		owner *group
		do    func(actor.Context)
	}
)
