package protocol

import (
	"cmp"
	"slices"
	"time"
)

// Requests and replies of metaq.group.<group>.<verb>, and of
// metaq.admin.group.ls. All are JSON; a refusal has the form of ErrorReply.
// docs/groups.md tells how a client uses them.

// Verbs of a group: the last token of the subject.
const (
	GroupVerbJoin      = "join"      // GroupJoin -> GroupView
	GroupVerbHeartbeat = "heartbeat" // GroupHeartbeat -> GroupView
	GroupVerbLeave     = "leave"     // GroupLeave -> Done
	GroupVerbCommit    = "commit"    // GroupCommit -> GroupOffsets
	GroupVerbOffsets   = "offsets"   // ListRequest -> GroupOffsets
	GroupVerbReset     = "reset"     // GroupReset -> GroupOffsets
	GroupVerbInfo      = "info"      // ListRequest -> GroupInfo
	GroupVerbDelete    = "delete"    // GroupDelete -> Done
)

// Strategies of assignment.
const (
	StrategySticky     = "sticky"     // balanced over all topics, moves as little as it can; the default
	StrategyRange      = "range"      // MetaQ's DEFAULT: contiguous ranges for each topic
	StrategyConsistent = "consistent" // MetaQ's CONSIST: a ring of hashes for each topic
)

// Places where a group starts in a partition without a committed offset, and
// places to reset to.
const (
	StartEarliest = "earliest"
	StartLatest   = "latest"
	StartOffset   = "offset"
	StartTime     = "time"
)

// What a member does where the log is not the one that was read.
const (
	DivergedStop    = "stop"    // the partition is not worked on until the group is reset
	DivergedRealign = "realign" // the group goes back to where the logs part
)

// Bounds and defaults of a member's times, in milliseconds.
const (
	MinSessionMs     = 500
	MaxSessionMs     = 3_600_000
	DefaultSessionMs = 10_000
	DefaultReleaseMs = 60_000
)

// MaxGroupTopics is the number of topics that one member may subscribe to.
const MaxGroupTopics = 1000

// TopicPartition names a partition of a topic.
type TopicPartition struct {
	Topic     string      `json:"topic"`
	Partition PartitionID `json:"partition"`
}

// Compare orders by topic, then by partition.
func (p TopicPartition) Compare(q TopicPartition) int {
	return cmp.Or(cmp.Compare(p.Topic, q.Topic), p.Partition.Compare(q.Partition))
}

// String is the form of messages and logs, such as "orders 0-3".
func (p TopicPartition) String() string { return p.Topic + " " + p.Partition.String() }

// GroupPlace says where to begin: At is one of StartEarliest (the default),
// StartLatest, StartOffset with Offset, StartTime with Time.
type GroupPlace struct {
	At     string     `json:"at,omitempty"`
	Offset Offset     `json:"offset,omitempty"` // moved into the log where it is outside
	Time   *time.Time `json:"time,omitempty"`
}

// Check returns a refusal when the place is not one.
func (p *GroupPlace) Check() error {
	switch {
	case p.At == StartOffset && p.Offset < 0:
		return ErrBadRequest.With("offset %d is negative", p.Offset)
	case p.At == StartTime && p.Time == nil:
		return ErrBadRequest.With(`at "time" wants a time such as 2026-01-02T15:04:05Z`)
	case !slices.Contains([]string{"", StartEarliest, StartLatest, StartOffset, StartTime}, p.At):
		return ErrBadRequest.With("at %q is not known; use earliest, latest, offset or time", clip(p.At))
	}
	return nil
}

// GroupJoin makes its sender a member, or changes what it is subscribed to. It
// may be repeated: a member that is there keeps what it has.
type GroupJoin struct {
	// Member names one run of one consumer; nobody else may use it, and after
	// ErrNoMember the consumer takes a new one. Default: the coordinator makes one.
	Member string `json:"member,omitempty"`
	// Instance is the name of a static member, which survives restarts: a new
	// Member with the Instance of an old one takes its place and its partitions
	// at once, and the old one is fenced.
	Instance string   `json:"instance,omitempty"`
	Client   string   `json:"client,omitempty"` // free text for people: host, program
	Topics   []string `json:"topics"`
	// Strategy is that of the group's first member; others must name the same
	// one or none.
	Strategy string `json:"strategy,omitempty"`
	// Alone asks to be the only member: it is refused while there is another one, and
	// while it lasts, nobody else is taken.
	Alone bool `json:"alone,omitempty"`
	// SessionMs is how long the member may be silent. Default DefaultSessionMs.
	SessionMs int `json:"session_ms,omitempty"`
	// ReleaseMs is how long the member may take to give a partition back before
	// it is evicted from the group. Default DefaultReleaseMs.
	ReleaseMs int `json:"release_ms,omitempty"`
	// Start is where partitions without a committed offset begin.
	Start GroupPlace `json:"start,omitzero"`
	// WhenDiverged is what to do with a partition whose committed offset is not in the log
	// any more: DivergedStop or DivergedRealign. Default: as updateConsumerOffsets says.
	WhenDiverged string `json:"when_diverged,omitempty"`
}

// Check returns a refusal when a field is out of its range, and fills in the
// defaults. The order of Topics becomes ascending.
func (r *GroupJoin) Check() error {
	names := []struct{ noun, name string }{{"member", r.Member}, {"instance", r.Instance}}
	for _, t := range r.Topics {
		names = append(names, struct{ noun, name string }{"topic", t})
	}
	for _, n := range names {
		if n.name == "" && n.noun != "topic" {
			continue
		}
		if err := CheckName(n.noun, n.name); err != nil {
			return ErrBadName.With("%v", err)
		}
	}
	r.SessionMs = cmp.Or(r.SessionMs, DefaultSessionMs)
	r.ReleaseMs = cmp.Or(r.ReleaseMs, DefaultReleaseMs)
	switch {
	case len(r.Topics) == 0 || len(r.Topics) > MaxGroupTopics:
		return ErrBadRequest.With("%d topics; subscribe to 1 to %d", len(r.Topics), MaxGroupTopics)
	case r.SessionMs < MinSessionMs || r.SessionMs > MaxSessionMs:
		return ErrBadRequest.With("session_ms %d is not within %d..%d", r.SessionMs, MinSessionMs, MaxSessionMs)
	case r.ReleaseMs < MinSessionMs || r.ReleaseMs > MaxSessionMs:
		return ErrBadRequest.With("release_ms %d is not within %d..%d", r.ReleaseMs, MinSessionMs, MaxSessionMs)
	case len(r.Client) > MaxNameLen:
		return ErrBadRequest.With("client has %d bytes; use at most %d", len(r.Client), MaxNameLen)
	case !slices.Contains([]string{"", DivergedStop, DivergedRealign}, r.WhenDiverged):
		return ErrBadRequest.With("when_diverged %q is not known; use stop or realign", clip(r.WhenDiverged))
	case !slices.Contains([]string{"", StrategySticky, StrategyRange, StrategyConsistent}, r.Strategy):
		return ErrBadRequest.With("strategy %q is not known; use sticky, range or consistent", clip(r.Strategy))
	}
	slices.Sort(r.Topics)
	r.Topics = slices.Compact(r.Topics)
	return r.Start.Check()
}

// GroupHeartbeat says that a member lives, and what it has stopped working on.
type GroupHeartbeat struct {
	Member     string `json:"member"`
	Generation int64  `json:"generation"` // as last heard
	// Instance is that of a static member. Its run that a newer one replaced is then told so
	// with ErrInstance, also by a coordinator that has been restarted since.
	Instance string `json:"instance,omitempty"`
	// Revision is that of the view that the member knows. With WaitMs the answer
	// comes when there is a newer one, or after WaitMs.
	Revision int64 `json:"revision,omitempty"`
	WaitMs   int   `json:"wait_ms,omitempty"` // bounded by the coordinator to a third of the session
	// Released are partitions of the view's Release on which all work has ended.
	// They count when Generation is the group's.
	Released []TopicPartition `json:"released,omitempty"`
	// After asks for the next page of a view: the Next of the one before. Such a beat is
	// answered at once.
	After string `json:"after,omitempty"`
}

// Check leaves each partition once in Released.
func (r *GroupHeartbeat) Check() error {
	if r.After != "" {
		r.WaitMs = 0
	}
	slices.SortFunc(r.Released, TopicPartition.Compare)
	r.Released = slices.Compact(r.Released)
	return r.Page().Check()
}

// Page is the part of the view that the request asks for.
func (r *GroupHeartbeat) Page() Page { return Page{After: r.After} }

// GroupView is what a member is to do. It replaces every view with a lower
// Revision; one with a lower Revision that comes late is to be ignored.
//
// A view that does not fit one message comes in pages. It is whole when the last page has
// the Revision of the first; otherwise ask for the first one again.
type GroupView struct {
	Group       string          `json:"group"`
	Member      string          `json:"member"`
	Generation  int64           `json:"generation"`
	Revision    int64           `json:"revision"`
	HeartbeatMs int             `json:"heartbeat_ms"` // beat at least this often
	Assigned    []GroupPosition `json:"assigned"`     // work on these, from the offset; sorted
	// Release are to be given back: stop, commit, and say so in the next
	// heartbeat's Released.
	Release []TopicPartition `json:"release"`
	// Pending will come once others have released them and a start is found.
	Pending []TopicPartition `json:"pending"`
	// Diverged are the member's, and nobody is to work on them: the group's offset is not
	// in the log any more, and updateConsumerOffsets=false. A reset ends that.
	Diverged []GroupStopped `json:"diverged,omitempty"`
	Next     string         `json:"next,omitempty"` // more follow, see GroupHeartbeat.After
}

// GroupStopped is a partition that a group has stopped at.
type GroupStopped struct {
	Topic     string      `json:"topic"`
	Partition PartitionID `json:"partition"`
	GroupDiverged
}

// At returns the partition.
func (p *GroupStopped) At() TopicPartition { return TopicPartition{p.Topic, p.Partition} }

// GroupDiverged tells that a committed offset was not in the log any more: the log has
// lost its end, and may have grown again.
type GroupDiverged struct {
	Offset     Offset    `json:"offset"`            // that was committed
	Epoch      Epoch     `json:"epoch,omitempty"`   // of the record before it, when that is known
	DivergedAt Offset    `json:"diverged_at"`       // where the logs part
	Time       time.Time `json:"time"`              // when the coordinator found it
	Stopped    bool      `json:"stopped,omitempty"` // the group stands there; else it went back to DivergedAt
}

// GroupPosition is a place in a partition: the offset of the next record to
// process.
type GroupPosition struct {
	Topic     string      `json:"topic"`
	Partition PartitionID `json:"partition"`
	Offset    Offset      `json:"offset"`
	// Epoch is that of the record before Offset, which tells whether the log is still the
	// one that was read; 0 when it is not known. See Lineage.
	Epoch Epoch `json:"epoch,omitempty"`
}

// At returns the partition.
func (p *GroupPosition) At() TopicPartition { return TopicPartition{p.Topic, p.Partition} }

// GroupLeave ends a membership; what the member owned is free at once. So commit
// first.
type GroupLeave struct {
	Member string `json:"member,omitempty"`
	// Instance, instead of Member, names a static member: one that will not come back.
	Instance string `json:"instance,omitempty"`
}

// Check returns a refusal unless one name is given.
func (r *GroupLeave) Check() error {
	if (r.Member == "") == (r.Instance == "") {
		return ErrBadRequest.With("name who leaves, with member or with instance")
	}
	return nil
}

// GroupCommit makes offsets durable. All are taken or none: a generation that is
// not the group's and a partition that the member does not own are refused with
// ErrFenced. An offset below the committed one changes nothing.
type GroupCommit struct {
	Member     string          `json:"member"`
	Generation int64           `json:"generation"`
	Instance   string          `json:"instance,omitempty"` // see GroupHeartbeat
	Offsets    []GroupPosition `json:"offsets"`
}

// Check sorts the offsets and leaves one for each partition: the highest.
func (r *GroupCommit) Check() error {
	slices.SortFunc(r.Offsets, func(a, b GroupPosition) int {
		return cmp.Or(a.At().Compare(b.At()), cmp.Compare(b.Offset, a.Offset))
	})
	r.Offsets = slices.CompactFunc(r.Offsets, func(a, b GroupPosition) bool { return a.At() == b.At() })
	return nil
}

// GroupOffsets are committed offsets, sorted by topic and partition. As the
// answer to a commit it has only the partitions that the commit named. The answers to a
// commit and to a reset end with their first page; offsets has the others.
type GroupOffsets struct {
	Group      string          `json:"group"`
	Generation int64           `json:"generation"`
	Offsets    []GroupPosition `json:"offsets"`
	Next       string          `json:"next,omitempty"` // more follow, see Page
}

// GroupReset moves committed offsets. It is refused with ErrConflict while the
// group has members, unless Force is set, which puts them all out.
type GroupReset struct {
	Topic      string        `json:"topic"`
	Partitions []PartitionID `json:"partitions,omitempty"` // default: all of the topic
	To         GroupPlace    `json:"to"`
	Force      bool          `json:"force,omitempty"`
}

// MaxResetPartitions is the number of partitions that one reset may name.
const MaxResetPartitions = 100_000

// Check returns a refusal when a field is out of its range. Partitions become sorted, and
// each is named once: whoever names one a thousand times would have it asked as often.
func (r *GroupReset) Check() error {
	if err := CheckName("topic", r.Topic); err != nil {
		return ErrBadName.With("%v", err)
	}
	if len(r.Partitions) > MaxResetPartitions {
		return ErrBadRequest.With("%d partitions; name at most %d, or none for all of the topic", len(r.Partitions), MaxResetPartitions)
	}
	slices.SortFunc(r.Partitions, PartitionID.Compare)
	r.Partitions = slices.Compact(r.Partitions)
	if r.To.At == "" {
		return ErrBadRequest.With(`reset wants "to", for example {"to":{"at":"earliest"}}`)
	}
	return r.To.Check()
}

// GroupDelete forgets a group and its offsets. It is refused with ErrConflict
// while the group has members, unless Force is set.
type GroupDelete struct {
	Force bool `json:"force,omitempty"`
}

// States of a group.
const (
	GroupEmpty  = "empty"  // no members
	GroupMoving = "moving" // a partition waits for its old owner
	GroupStable = "stable" // every partition is where it belongs
)

// GroupInfo describes a group.
type GroupInfo struct {
	Group       string           `json:"group"`
	State       string           `json:"state"`
	Generation  int64            `json:"generation"`
	Coordinator int              `json:"coordinator"` // broker id
	Strategy    string           `json:"strategy"`
	Members     []GroupMember    `json:"members"`        // sorted by member
	Partitions  []GroupPartition `json:"partitions"`     // sorted by topic and partition
	Lag         int64            `json:"lag"`            // in messages, of the partitions where it is known
	Next        string           `json:"next,omitempty"` // more follow, see Page: members, then partitions
}

// GroupMember describes a member.
type GroupMember struct {
	Member     string   `json:"member"`
	Instance   string   `json:"instance,omitempty"`
	Client     string   `json:"client,omitempty"`
	Topics     []string `json:"topics"`
	SessionMs  int      `json:"session_ms"`
	SilentMs   int64    `json:"silent_ms"`  // since its last request
	Partitions int      `json:"partitions"` // that it owns
}

// GroupPartition describes a group's progress in a partition. A number that is
// not known is absent.
type GroupPartition struct {
	Topic     string      `json:"topic"`
	Partition PartitionID `json:"partition"`
	Owner     string      `json:"owner,omitempty"`  // member
	Target    string      `json:"target,omitempty"` // the member that gets it next, when it is another
	Committed *Offset     `json:"committed,omitempty"`
	LogStart  *Offset     `json:"log_start,omitempty"`
	EndOffset *Offset     `json:"end_offset,omitempty"`
	Lag       *int64      `json:"lag,omitempty"`
	Error     string      `json:"error,omitempty"` // why the partition's ends are not known
	// Diverged is there when the committed offset was not in the log any more; a reset of
	// the partition takes it away.
	Diverged *GroupDiverged `json:"diverged,omitempty"`
}

// At returns the partition.
func (p *GroupPartition) At() TopicPartition { return TopicPartition{p.Topic, p.Partition} }

// GroupList is the answer of metaq.admin.group.ls: the groups of all brokers that
// answered in time, sorted by name.
type GroupList struct {
	Groups []GroupSummary `json:"groups"`
	Silent []int          `json:"silent,omitempty"` // brokers that did not answer: their groups may be missing
	Next   string         `json:"next,omitempty"`   // more follow, see Page
}

// GroupSummary is one group in a list.
type GroupSummary struct {
	Group      string   `json:"group"`
	Members    int      `json:"members"`
	Generation int64    `json:"generation"`
	Topics     []string `json:"topics"` // with members or offsets, the first MaxSummaryTopics
	MoreTopics int      `json:"more_topics,omitempty"`
}

// MaxSummaryTopics is how many topics of a group a list names.
const MaxSummaryTopics = 100
