package protocol

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// The answers of groups, which come in pages when a group has very many partitions.

// listed is an entry of one of the lists of an answer, which follow one another in its pages.
type listed struct {
	list  int
	at    TopicPartition
	name  string // of what is no partition
	value any
}

// MarshalJSON makes an entry what it is in its list.
func (e listed) MarshalJSON() ([]byte, error) { return json.Marshal(e.value) }

// listsOf returns how lists of these kinds are cut. The entries of named have a name, those
// of all others are partitions.
func listsOf(named string, kinds ...string) Listing[listed] {
	parse := func(after string) (e listed, err error) {
		kind, name, _ := strings.Cut(after, ":")
		e.list = slices.Index(kinds, kind)
		switch {
		case e.list < 0:
			err = fmt.Errorf("there is no list %q", kind)
		case kind == named:
			e.name = name
		default:
			e.at.Topic, e.at.Partition, err = parsePlace(name)
		}
		return e, err
	}
	return Listing[listed]{
		Name: func(e *listed) string {
			if e.name != "" {
				return kinds[e.list] + ":" + e.name
			}
			return kinds[e.list] + ":" + placeName(e.at.Topic, e.at.Partition)
		},
		Follows: func(e *listed, after string) bool {
			a, err := parse(after)
			return err == nil && cmp.Or(cmp.Compare(e.list, a.list), strings.Compare(e.name, a.name), e.at.Compare(a.at)) > 0
		},
		Known: func(after string) error { _, err := parse(after); return err },
	}
}

// largestPlace is what the largest entry of a list of partitions has in JSON: all but the
// infos of groups, whose entries carry texts.
const largestPlace = MaxNameLen + 300

// fits reports, without encoding anything, that all of an answer fits: that of nearly every
// heartbeat.
func fits(entries int, p Page, limit int) bool {
	return p == Page{} && entries*largestPlace <= limit-1024
}

var positionPages = Listing[GroupPosition]{
	Name: func(p *GroupPosition) string { return placeName(p.Topic, p.Partition) },
	Follows: func(p *GroupPosition, after string) bool {
		topic, id, err := parsePlace(after)
		return err == nil && p.At().Compare(TopicPartition{topic, id}) > 0
	},
	Known: func(after string) error { _, _, err := parsePlace(after); return err },
}

// Cut implements Pages: a group's offsets.
func (g GroupOffsets) Cut(p Page, limit int) (any, error) {
	if fits(len(g.Offsets), p, limit) {
		return g, nil
	}
	all := g.Offsets
	g.Offsets = []GroupPosition{}
	var err error
	g.Offsets, g.Next, err = positionPages.Cut(all, p, roomBeside(g, limit))
	return g, err
}

var infoPages = listsOf("member", "member", "partition")

// Cut implements Pages: a group's members, then its partitions.
func (g GroupInfo) Cut(p Page, limit int) (any, error) {
	all := make([]listed, 0, len(g.Members)+len(g.Partitions))
	for i := range g.Members {
		all = append(all, listed{name: g.Members[i].Member, value: g.Members[i]})
	}
	for i := range g.Partitions {
		all = append(all, listed{list: 1, at: g.Partitions[i].At(), value: g.Partitions[i]})
	}
	g.Members, g.Partitions = []GroupMember{}, []GroupPartition{}
	page, next, err := infoPages.Cut(all, p, roomBeside(g, limit))
	for _, e := range page {
		switch v := e.value.(type) {
		case GroupMember:
			g.Members = append(g.Members, v)
		case GroupPartition:
			g.Partitions = append(g.Partitions, v)
		}
	}
	g.Next = next
	return g, err
}

var viewPages = listsOf("", "assigned", "release", "pending", "diverged")

// Cut implements Pages: what a member works on, what it is to release, what it waits for,
// and where it has stopped.
func (v GroupView) Cut(p Page, limit int) (any, error) {
	entries := len(v.Assigned) + len(v.Release) + len(v.Pending) + len(v.Diverged)
	if fits(entries, p, limit) {
		return v, nil
	}
	all := make([]listed, 0, entries)
	for i := range v.Assigned {
		all = append(all, listed{at: v.Assigned[i].At(), value: v.Assigned[i]})
	}
	for _, at := range v.Release {
		all = append(all, listed{list: 1, at: at, value: at})
	}
	for _, at := range v.Pending {
		all = append(all, listed{list: 2, at: at, value: at})
	}
	for i := range v.Diverged {
		all = append(all, listed{list: 3, at: v.Diverged[i].At(), value: v.Diverged[i]})
	}
	v.Assigned, v.Release, v.Pending, v.Diverged = []GroupPosition{}, []TopicPartition{}, []TopicPartition{}, nil
	page, next, err := viewPages.Cut(all, p, roomBeside(v, limit)-len(`,"diverged":[]`))
	for _, e := range page {
		switch value := e.value.(type) {
		case GroupPosition:
			v.Assigned = append(v.Assigned, value)
		case GroupStopped:
			v.Diverged = append(v.Diverged, value)
		case TopicPartition:
			if e.list == 1 {
				v.Release = append(v.Release, value)
			} else {
				v.Pending = append(v.Pending, value)
			}
		}
	}
	v.Next = next
	return v, err
}

// Join adds the next page of the same view.
func (v *GroupView) Join(page GroupView) {
	v.Assigned, v.Release = append(v.Assigned, page.Assigned...), append(v.Release, page.Release...)
	v.Pending, v.Diverged = append(v.Pending, page.Pending...), append(v.Diverged, page.Diverged...)
	v.Next = page.Next
}
