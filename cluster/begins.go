package cluster

import (
	"context"
	"fmt"
	"time"

	"metaq/cluster/registry"
	"metaq/protocol"
)

// Begin is when a group began to want a topic, in a node below the group's record.
type Begin struct {
	Topic string         `json:"-"`
	At    time.Time      `json:"at,omitzero"`
	Born  protocol.Epoch `json:"born,omitempty"`  // of the topic then; see Topic.Born
	Homes map[int]int    `json:"homes,omitempty"` // how many partitions it had, by home
	Gone  bool           `json:"-"`               // to be deleted
}

// MirrorBegins writes begins of a group that this registration has claimed.
// ErrNotCoordinator; ErrFenced when a newer coordinator has the group.
func (r *Registration) MirrorBegins(ctx context.Context, group string, begins []Begin) error {
	if err := r.take(ctx); err != nil {
		return fmt.Errorf("mirror begins: %w", err)
	}
	defer r.give()
	version, claimed := r.groups[group]
	if !claimed {
		return fmt.Errorf("mirror begins: %w: %s", ErrNotCoordinator, group)
	}
	for _, b := range begins {
		if err := protocol.CheckName("topic", b.Topic); err != nil {
			return fmt.Errorf("mirror begins: %w: %w", registry.ErrInvalid, err)
		}
	}
	guard := []registry.Op{r.fence, registry.Check(r.paths.group(group), version)}
	for len(begins) > 0 {
		chunk := begins[:min(len(begins), registry.MaxMultiOps-len(guard))]
		begins = begins[len(chunk):]
		where := mapped(chunk, func(b Begin) string { return r.paths.begin(group, b.Topic) })
		err := converge(ctx, r.reg, guard, func(ctx context.Context) (ops []registry.Op, err error) {
			nodes, err := readAll(ctx, r.reg, where)
			if err != nil {
				return nil, err
			}
			for i, b := range chunk {
				switch data := encode(b); {
				case b.Gone && nodes[i].ok:
					ops = append(ops, registry.Delete(where[i], nodes[i].Version))
				case !b.Gone && (!nodes[i].ok || string(nodes[i].Data) != string(data)):
					ops = append(ops, putOp(where[i], nodes[i], data))
				}
			}
			return ops, nil
		})
		if err != nil {
			return fmt.Errorf("mirror begins: %w", err)
		}
	}
	return nil
}

// Begins reads when a group began in its topics, sorted by topic.
func (c *Catalog) Begins(ctx context.Context, group string) ([]Begin, error) {
	topics, err := childrenOf(ctx, c.reg, c.paths.group(group))
	if err != nil {
		return nil, fmt.Errorf("begins of %s: %w", group, err)
	}
	nodes, err := readAll(ctx, c.reg, mapped(topics, func(t string) string { return c.paths.begin(group, t) }))
	if err != nil {
		return nil, fmt.Errorf("begins of %s: %w", group, err)
	}
	var begins []Begin
	for i, n := range nodes {
		if !n.ok {
			continue
		}
		b, err := decode[Begin](c.paths.begin(group, topics[i]), n.Node)
		if err != nil {
			return nil, err
		}
		b.Topic = topics[i]
		begins = append(begins, b)
	}
	return begins, nil
}
