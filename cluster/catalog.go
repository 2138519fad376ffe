package cluster

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"

	"metaq/cluster/registry"
	"metaq/protocol"
)

// Catalog reads the records of one cluster. It needs no rights and keeps nothing;
// what it returns may be a little old. Writing is Registration's.
type Catalog struct {
	reg   registry.Registry
	paths paths
}

// NewCatalog reads below root (zk.zkRoot; empty means DefaultRoot) in one session.
func NewCatalog(reg registry.Registry, root string) (*Catalog, error) {
	p, err := newPaths(root)
	if err != nil {
		return nil, err
	}
	return &Catalog{reg: reg, paths: p}, nil
}

// Partition is a partition as the registry has it.
type Partition struct {
	ID     protocol.PartitionID
	Epoch  protocol.Epoch
	Leader int // broker id, or NoLeader
}

// Topic reads one topic. ErrNotFound.
func (c *Catalog) Topic(ctx context.Context, name string) (Topic, error) {
	if err := protocol.CheckName("topic", name); err != nil {
		return Topic{}, fmt.Errorf("%w: %w", registry.ErrInvalid, err)
	}
	n, err := c.reg.Get(ctx, c.paths.topic(name))
	if err != nil {
		return Topic{}, fmt.Errorf("topic %s: %w", name, err)
	}
	return c.decodeTopic(name, n)
}

func (c *Catalog) decodeTopic(name string, n registry.Node) (Topic, error) {
	t, err := decode[Topic](c.paths.topic(name), n)
	t.Name, t.Version = name, n.Version
	if err == nil {
		err = t.Check()
	}
	return t, err
}

// Unreadable is a record that is not what belongs there: damage, a newer release's, or
// somebody else's. Readings of many records leave it out and continue: one bad node must not
// stop every broker.
type Unreadable struct {
	Path  string
	Topic string // that it is about, if it is about one; the name may be none that is allowed
	Why   string
}

func unreadable(path, topic string, err error) Unreadable {
	return Unreadable{Path: path, Topic: topic, Why: err.Error()}
}

// Topics reads all topics that can be read, sorted by name.
func (c *Catalog) Topics(ctx context.Context) ([]Topic, error) {
	topics, _, err := c.ReadTopics(ctx)
	return topics, err
}

// ReadTopics is Topics and returns the records as well that cannot be read. A topic whose
// record is among them exists: its data is not to be touched.
func (c *Catalog) ReadTopics(ctx context.Context) ([]Topic, []Unreadable, error) {
	names, err := childrenOf(ctx, c.reg, c.paths.topics())
	if err != nil {
		return nil, nil, fmt.Errorf("list topics: %w", err)
	}
	nodes, err := readAll(ctx, c.reg, mapped(names, c.paths.topic))
	if err != nil {
		return nil, nil, fmt.Errorf("read topics: %w", err)
	}
	var topics []Topic
	var bad []Unreadable
	for i, n := range nodes {
		if !n.ok {
			continue // deleted since it was listed
		}
		t, err := c.decodeTopic(names[i], n.Node)
		if err != nil {
			bad = append(bad, unreadable(c.paths.topic(names[i]), names[i], err))
			continue
		}
		topics = append(topics, t)
	}
	return topics, bad, nil
}

// Partitions reads the partitions of one topic on all homes, in the order of
// protocol.PartitionID.Compare. A topic without claimed partitions has none.
func (c *Catalog) Partitions(ctx context.Context, topic string) ([]Partition, error) {
	all, bad, err := c.partitionsOf(ctx, []string{topic})
	if err != nil {
		return nil, err
	}
	if len(bad) > 0 {
		return nil, fmt.Errorf("%w: %s", ErrRecord, bad[0].Why)
	}
	return all[0], nil
}

// partitionsOf reads the partitions of many topics, and returns the records that cannot
// be read.
func (c *Catalog) partitionsOf(ctx context.Context, topics []string) ([][]Partition, []Unreadable, error) {
	homes := make([][]string, len(topics))
	err := inParallel(ctx, len(topics), func(ctx context.Context, i int) (err error) {
		homes[i], err = childrenOf(ctx, c.reg, c.paths.partitions(topics[i]))
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("list partitions: %w", err)
	}
	var bad []Unreadable
	var nodePaths []string
	var topicOf, homeOf []int
	for i, names := range homes {
		for _, name := range names {
			home, err := strconv.Atoi(name)
			if err != nil || home < 0 || home > protocol.MaxBrokerID {
				bad = append(bad, unreadable(c.paths.partitions(topics[i])+"/"+name, topics[i], fmt.Errorf("%w: not a broker id", ErrRecord)))
				continue
			}
			nodePaths = append(nodePaths, c.paths.home(topics[i], home))
			topicOf, homeOf = append(topicOf, i), append(homeOf, home)
		}
	}
	nodes, err := readAll(ctx, c.reg, nodePaths)
	if err != nil {
		return nil, nil, fmt.Errorf("read partitions: %w", err)
	}
	all := make([][]Partition, len(topics))
	for i, n := range nodes {
		if !n.ok {
			continue
		}
		leads, err := decode[[]leadership](nodePaths[i], n.Node)
		if err != nil {
			bad = append(bad, unreadable(nodePaths[i], topics[topicOf[i]], err))
			continue
		}
		for k, l := range leads {
			id := protocol.PartitionID{Home: homeOf[i], N: k}
			all[topicOf[i]] = append(all[topicOf[i]], Partition{ID: id, Epoch: l.Epoch, Leader: l.Leader})
		}
	}
	for _, list := range all {
		slices.SortFunc(list, func(a, b Partition) int { return a.ID.Compare(b.ID) })
	}
	return all, bad, nil
}

// Brokers reads who is registered now and can be read, sorted by id.
func (c *Catalog) Brokers(ctx context.Context) ([]Broker, error) {
	brokers, _, err := c.readBrokers(ctx)
	return brokers, err
}

func (c *Catalog) readBrokers(ctx context.Context) ([]Broker, []Unreadable, error) {
	names, err := childrenOf(ctx, c.reg, c.paths.brokers())
	if err != nil {
		return nil, nil, fmt.Errorf("list brokers: %w", err)
	}
	nodePaths := mapped(names, func(name string) string { return c.paths.brokers() + "/" + name })
	nodes, err := readAll(ctx, c.reg, nodePaths)
	if err != nil {
		return nil, nil, fmt.Errorf("read brokers: %w", err)
	}
	var brokers []Broker
	var bad []Unreadable
	for i, n := range nodes {
		if !n.ok {
			continue // gone since it was listed
		}
		b, err := decode[Broker](nodePaths[i], n.Node)
		if err != nil {
			bad = append(bad, unreadable(nodePaths[i], "", err))
			continue
		}
		brokers = append(brokers, b)
	}
	slices.SortFunc(brokers, func(a, b Broker) int { return cmp.Compare(a.ID, b.ID) })
	return brokers, bad, nil
}

func mapped[A, B any](in []A, f func(A) B) []B {
	out := make([]B, len(in))
	for i, v := range in {
		out[i] = f(v)
	}
	return out
}
