package protocol

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// The answers that come in pages.

// Pages is an answer that can be cut into pages.
type Pages interface {
	// Cut returns the page of the answer that p asks for, with at most limit bytes of JSON.
	Cut(p Page, limit int) (any, error)
}

// nextRoom is what a page leaves for its own next.
const nextRoom = maxAfter + len(`,"next":""`)

// roomBeside is what is left of limit beside an answer without its entries.
func roomBeside(empty any, limit int) int {
	b, err := json.Marshal(empty)
	if err != nil {
		return limit // the same error comes when the answer is encoded
	}
	return limit - len(b) - nextRoom
}

var partitionPages = Listing[PartitionInfo]{
	Name: func(p *PartitionInfo) string { return p.Partition.String() },
	Follows: func(p *PartitionInfo, after string) bool {
		id, err := ParsePartitionID(after)
		return err == nil && p.Partition.Compare(id) > 0
	},
	Known: func(after string) error { _, err := ParsePartitionID(after); return err },
}

// Cut implements Pages: a topic's partitions.
func (t TopicInfo) Cut(p Page, limit int) (any, error) {
	all := t.Partitions
	t.Partitions = []PartitionInfo{}
	var err error
	t.Partitions, t.Next, err = partitionPages.Cut(all, p, roomBeside(t, limit))
	return t, err
}

var topicPages = Listing[TopicSummary]{
	Name:    func(t *TopicSummary) string { return t.Topic },
	Follows: func(t *TopicSummary, after string) bool { return t.Topic > after },
}

// Cut implements Pages: the topics.
func (l TopicList) Cut(p Page, limit int) (any, error) {
	all := l.Topics
	l.Topics = []TopicSummary{}
	var err error
	l.Topics, l.Next, err = topicPages.Cut(all, p, roomBeside(l, limit))
	return l, err
}

var groupPages = Listing[GroupSummary]{
	Name:    func(g *GroupSummary) string { return g.Group },
	Follows: func(g *GroupSummary, after string) bool { return g.Group > after },
}

// Cut implements Pages: the groups.
func (l GroupList) Cut(p Page, limit int) (any, error) {
	all := l.Groups
	l.Groups = []GroupSummary{}
	var err error
	l.Groups, l.Next, err = groupPages.Cut(all, p, roomBeside(l, limit))
	return l, err
}

var failedPages = Listing[FailedPartition]{
	Name:    func(f *FailedPartition) string { return placeName(f.Topic, f.Partition) },
	Follows: func(f *FailedPartition, after string) bool { return placeAfter(f, after) },
	Known:   func(after string) error { _, _, err := parsePlace(after); return err },
}

// Cut implements Pages: the partitions that have failed.
func (n NodeState) Cut(p Page, limit int) (any, error) {
	all := slices.Clone(n.Failed)
	slices.SortFunc(all, compareFailed)
	n.Failed = []FailedPartition{}
	var err error
	n.Failed, n.Next, err = failedPages.Cut(all, p, roomBeside(n, limit))
	return n, err
}

// clusterEntry is an entry of one of the lists of a ClusterInfo.
type clusterEntry struct {
	list    int // of clusterLists
	broker  *BrokerInfo
	trouble *FailedPartition
}

// clusterLists are the lists of a ClusterInfo, in the order of its pages, as the next of a
// page names them.
var clusterLists = []string{"broker", "failed", "leaderless"}

// MarshalJSON makes an entry what it is in its list.
func (e clusterEntry) MarshalJSON() ([]byte, error) {
	if e.broker != nil {
		return json.Marshal(e.broker)
	}
	return json.Marshal(e.trouble)
}

var clusterPages = Listing[clusterEntry]{
	Name: func(e *clusterEntry) string {
		if e.broker != nil {
			return clusterLists[0] + ":" + strconv.Itoa(e.broker.BrokerID)
		}
		return clusterLists[e.list] + ":" + placeName(e.trouble.Topic, e.trouble.Partition)
	},
	Follows: func(e *clusterEntry, after string) bool {
		kind, name, _ := strings.Cut(after, ":")
		switch at := slices.Index(clusterLists, kind); {
		case e.list != at:
			return e.list > at
		case e.broker != nil:
			id, err := strconv.Atoi(name)
			return err == nil && e.broker.BrokerID > id
		default:
			return placeAfter(e.trouble, name)
		}
	},
	Known: func(after string) error {
		kind, name, _ := strings.Cut(after, ":")
		switch slices.Index(clusterLists, kind) {
		case -1:
			return fmt.Errorf("there is no list %q", kind)
		case 0:
			_, err := strconv.Atoi(name)
			return err
		default:
			_, _, err := parsePlace(name)
			return err
		}
	},
}

// Cut implements Pages: the brokers, then the partitions that have failed, then those
// without a leader.
func (c ClusterInfo) Cut(p Page, limit int) (any, error) {
	var all []clusterEntry
	brokers := slices.Clone(c.Brokers)
	slices.SortFunc(brokers, func(a, b BrokerInfo) int { return cmp.Compare(a.BrokerID, b.BrokerID) })
	for i := range brokers {
		all = append(all, clusterEntry{broker: &brokers[i]})
	}
	for i, list := range [][]FailedPartition{c.Failed, c.Leaderless} {
		list = slices.Clone(list)
		slices.SortFunc(list, compareFailed)
		for n := range list {
			all = append(all, clusterEntry{list: i + 1, trouble: &list[n]})
		}
	}
	out := ClusterInfo{Brokers: []BrokerInfo{}, Failed: []FailedPartition{}, Leaderless: []FailedPartition{}}
	page, next, err := clusterPages.Cut(all, p, roomBeside(out, limit))
	for _, e := range page {
		switch e.list {
		case 0:
			out.Brokers = append(out.Brokers, *e.broker)
		case 1:
			out.Failed = append(out.Failed, *e.trouble)
		default:
			out.Leaderless = append(out.Leaderless, *e.trouble)
		}
	}
	out.Next = next
	return out, err
}

func compareFailed(a, b FailedPartition) int {
	return cmp.Or(strings.Compare(a.Topic, b.Topic), a.Partition.Compare(b.Partition))
}

// placeName names a partition of a topic. Topic names have no slash.
func placeName(topic string, id PartitionID) string { return topic + "/" + id.String() }

func parsePlace(name string) (topic string, id PartitionID, err error) {
	topic, rest, _ := strings.Cut(name, "/")
	id, err = ParsePartitionID(rest)
	return topic, id, err
}

func placeAfter(f *FailedPartition, after string) bool {
	topic, id, err := parsePlace(after)
	return err == nil && compareFailed(*f, FailedPartition{Topic: topic, Partition: id}) > 0
}
