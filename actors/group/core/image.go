package core

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"metaq/protocol"
)

// Entry is one record of the groups' log: what one step of a group changed.
// It is JSON, so that `metaq log dump` shows what happened. Replaying all entries
// from any place at or before the last snapshot gives the images of all groups.
type Entry struct {
	Group string         `json:"group"`
	Epoch protocol.Epoch `json:"epoch,omitempty"` // of the coordinator's claim
	// Snapshot says that the entry has all that there is of the group; State is
	// then set.
	Snapshot bool `json:"snapshot,omitempty"`
	// State replaces the state: in snapshots, in claims, and in what releases before 0.2
	// wrote at each change. Change is what a step changed of it.
	State   *State                   `json:"state,omitempty"`
	Change  *Change                  `json:"change,omitempty"`
	Deleted bool                     `json:"deleted,omitempty"`
	Offsets []protocol.GroupPosition `json:"offsets,omitempty"` // replace those of the same partitions
	// Born says of which topics the offsets and the state are, see Topic.Born: by name,
	// without those that are 0. Offsets of a topic that is older than what the image has
	// say nothing; a newer one puts those of the older aside.
	Born map[string]protocol.Epoch `json:"born,omitempty"`
	// Begins replace those of the same topics.
	Begins []Begin `json:"begins,omitempty"`
}

// State is what a group must know after a restart besides its offsets.
type State struct {
	Generation int64                `json:"generation"`
	Strategy   string               `json:"strategy,omitempty"`
	Members    []protocol.GroupJoin `json:"members,omitempty"`    // as they joined, sorted by Member
	Partitions []Holding            `json:"partitions,omitempty"` // those with an owner or a target, sorted
}

// Change is what one step changed of a State. It has only the members and
// partitions that differ from before: an entry with the whole state would make n joins
// write n*n/2 members.
type Change struct {
	Generation int64                `json:"generation"`
	Strategy   string               `json:"strategy,omitempty"`
	Joined     []protocol.GroupJoin `json:"joined,omitempty"`     // new members, and those that joined again
	Left       []string             `json:"left,omitempty"`       // who is no member any more
	Partitions []Holding            `json:"partitions,omitempty"` // without owner and target: nobody has it now
}

// Holding is who works on a partition.
type Holding struct {
	Topic     string               `json:"topic"`
	Partition protocol.PartitionID `json:"partition"`
	Owner     string               `json:"owner,omitempty"`
	Target    string               `json:"target,omitempty"`
}

// Place is a place in a partition's log: an offset and the epoch of the record before
// it, which is 0 when it is not known. See protocol.Lineage.
type Place struct {
	Offset protocol.Offset
	Epoch  protocol.Epoch
}

// PlaceIn returns the place of a position.
func PlaceIn(p *protocol.GroupPosition) Place { return Place{p.Offset, p.Epoch} }

// Image is what the log knows of one group.
type Image struct {
	Epoch   protocol.Epoch
	State   State
	Offsets map[protocol.TopicPartition]Place
	Born    map[string]protocol.Epoch // of the topics that this is about; never goes down
	Begins  map[string]Begin          // by topic
}

// Images are the images of all groups by name.
type Images map[string]*Image

// Apply takes over one entry.
func (g Images) Apply(e *Entry) {
	if e.Deleted {
		delete(g, e.Group)
		return
	}
	image := g[e.Group]
	if image == nil || e.Snapshot {
		image = &Image{Offsets: map[protocol.TopicPartition]Place{}, Born: map[string]protocol.Epoch{}, Begins: map[string]Begin{}}
		g[e.Group] = image
	}
	image.Epoch = max(image.Epoch, e.Epoch)
	if e.State != nil {
		image.State = *e.State
	}
	if e.Change != nil {
		image.State.apply(e.Change)
	}
	for topic, born := range e.Born {
		if born > image.Born[topic] {
			maps.DeleteFunc(image.Offsets, func(at protocol.TopicPartition, _ Place) bool { return at.Topic == topic })
			image.Born[topic] = born
		}
	}
	for _, b := range e.Begins {
		if b.Gone {
			delete(image.Begins, b.Topic)
			continue
		}
		image.Begins[b.Topic] = b
	}
	for i := range e.Offsets {
		if p := &e.Offsets[i]; e.Born[p.Topic] == image.Born[p.Topic] {
			image.Offsets[p.At()] = PlaceIn(p)
		}
	}
}

// apply makes the change of one step. It changes the slices in place: only clone hands
// them to another goroutine.
func (s *State) apply(c *Change) {
	s.Generation, s.Strategy = c.Generation, c.Strategy
	for i := range c.Joined {
		s.Members = put(s.Members, c.Joined[i], byMember)
	}
	for _, id := range c.Left {
		s.Members = drop(s.Members, protocol.GroupJoin{Member: id}, byMember)
	}
	for _, h := range c.Partitions {
		if h.Owner == "" && h.Target == "" {
			s.Partitions = drop(s.Partitions, h, byPartition)
		} else {
			s.Partitions = put(s.Partitions, h, byPartition)
		}
	}
}

func byMember(a, b protocol.GroupJoin) int { return cmp.Compare(a.Member, b.Member) }

func byPartition(a, b Holding) int {
	return protocol.TopicPartition{Topic: a.Topic, Partition: a.Partition}.Compare(
		protocol.TopicPartition{Topic: b.Topic, Partition: b.Partition})
}

// put sets the element of a sorted slice, or inserts it.
func put[T any](s []T, v T, order func(a, b T) int) []T {
	i, found := slices.BinarySearchFunc(s, v, order)
	if found {
		s[i] = v
		return s
	}
	return slices.Insert(s, i, v)
}

// drop deletes the element from a sorted slice, if it is in it.
func drop[T any](s []T, v T, order func(a, b T) int) []T {
	if i, found := slices.BinarySearchFunc(s, v, order); found {
		return slices.Delete(s, i, i+1)
	}
	return s
}

// Snapshot returns an entry that gives the whole image.
func (m *Image) Snapshot(group string) Entry {
	state := m.State
	e := Entry{Group: group, Epoch: m.Epoch, Snapshot: true, State: &state, Offsets: Positions(m.Offsets), Born: maps.Clone(m.Born)}
	for _, t := range slices.Sorted(maps.Keys(m.Begins)) {
		e.Begins = append(e.Begins, m.Begins[t])
	}
	return e
}

// Clone is for a group that has its own life from here on.
func (m *Image) Clone() *Image {
	c := *m
	c.State.Members, c.State.Partitions = slices.Clone(m.State.Members), slices.Clone(m.State.Partitions)
	c.Offsets, c.Born, c.Begins = maps.Clone(m.Offsets), maps.Clone(m.Born), maps.Clone(m.Begins)
	return &c
}

// Topics are those that the group has members or offsets in, sorted.
func (m *Image) Topics() []string {
	set := map[string]bool{}
	for i := range m.State.Members {
		for _, t := range m.State.Members[i].Topics {
			set[t] = true
		}
	}
	for p := range m.Offsets {
		set[p.Topic] = true
	}
	return slices.Sorted(maps.Keys(set))
}

// Positions sorts offsets by topic and partition.
func Positions(m map[protocol.TopicPartition]Place) []protocol.GroupPosition {
	out := make([]protocol.GroupPosition, 0, len(m))
	for p, at := range m {
		out = append(out, protocol.GroupPosition{Topic: p.Topic, Partition: p.Partition, Offset: at.Offset, Epoch: at.Epoch})
	}
	sortPositions(out)
	return out
}

func sortPositions(p []protocol.GroupPosition) {
	slices.SortFunc(p, func(a, b protocol.GroupPosition) int { return a.At().Compare(b.At()) })
}

// MaxEntry is the largest record of an entry: with its framing it fits a batch.
const MaxEntry = protocol.MaxBatchSize - 64<<10

// Encode returns the record of an entry, which has at most limit bytes.
func (e *Entry) Encode(limit int) ([]byte, error) {
	b, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encode entry of group %s: %w", e.Group, err)
	}
	if len(b) > limit {
		return nil, fmt.Errorf("entry of group %s has %d bytes, more than %d: delete groups or topics that are not used", e.Group, len(b), limit)
	}
	return b, nil
}

// DecodeEntry reads the record of an entry. Unknown fields are refused: they
// are a newer release's, and what they mean would be lost at the next snapshot.
func DecodeEntry(b []byte) (Entry, error) {
	var e Entry
	if err := protocol.DecodeRequest(b, &e); err != nil {
		return e, fmt.Errorf("entry of the groups' log: %w", err)
	}
	if err := protocol.CheckName("group", e.Group); err != nil {
		return e, fmt.Errorf("entry of the groups' log: %w", err)
	}
	return e, nil
}
