package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"metaq/cluster/registry"
	"metaq/protocol"
)

// TopicAd is a topic as MetaQ's tools and clients see it on one broker.
type TopicAd struct {
	Topic      string
	Partitions int  // on this broker
	Publish    bool // acceptPublish
	Subscribe  bool // acceptSubscribe
}

// GroupAd is a consumer group as MetaQ's tools see it.
type GroupAd struct {
	Members map[string][]string // topics that each consumer id subscribes to
	Owners  []OwnerAd
}

// OwnerAd is who consumes a partition.
type OwnerAd struct {
	Topic     string
	Partition protocol.PartitionID
	Member    string // consumer id
}

// topicScope is the scope of the topics' nodes; that of a group's is its name, and no
// group has an empty one.
const topicScope = ""

// Advertise makes these, and no others, the topics that this broker has in MetaQ's
// brokers/topics, topics-pub and topics-sub. The nodes live as long as the session;
// leftovers of an earlier incarnation are taken over.
func (r *Registration) Advertise(ctx context.Context, ads []TopicAd) error {
	want := map[string][]byte{}
	for _, ad := range ads {
		if err := protocol.CheckName("topic", ad.Topic); err != nil {
			return fmt.Errorf("advertise: %w: %w", registry.ErrInvalid, err)
		}
		maps.Copy(want, r.paths.ads(ad, r.self.ID))
	}
	if err := r.publishInTurn(ctx, topicScope, want); err != nil {
		return fmt.Errorf("advertise topics: %w", err)
	}
	return nil
}

// AdvertiseGroup makes these, and no others, the members and owners that MetaQ's tools
// see of a group that this registration has claimed (ErrNotCoordinator). The nodes live
// as long as this broker's session. ErrFenced when a newer coordinator has the group.
func (r *Registration) AdvertiseGroup(ctx context.Context, group string, ad GroupAd) error {
	want := map[string][]byte{}
	for member, topics := range ad.Members {
		if strings.Contains(member, "/") {
			return fmt.Errorf("advertise group %s: %w: consumer id %q", group, registry.ErrInvalid, member)
		}
		want[r.paths.member(group, member)] = []byte(strings.Join(topics, ","))
	}
	for _, o := range ad.Owners {
		if err := protocol.CheckName("topic", o.Topic); err != nil {
			return fmt.Errorf("advertise group %s: %w: %w", group, registry.ErrInvalid, err)
		}
		want[r.paths.owner(group, o.Topic, o.Partition)] = []byte(memberName(group, o.Member))
	}
	for path := range want {
		if err := registry.CheckPath(path); err != nil {
			return fmt.Errorf("advertise group %s: %w", group, err)
		}
	}
	if err := r.publishInTurn(ctx, group, want); err != nil {
		return fmt.Errorf("advertise group %s: %w", group, err)
	}
	return nil
}

func (r *Registration) publishInTurn(ctx context.Context, scope string, want map[string][]byte) error {
	if err := r.take(ctx); err != nil {
		return err
	}
	defer r.give()
	return r.publish(ctx, scope, want)
}

// publish makes these the ephemeral nodes of a scope. The caller has the turn.
func (r *Registration) publish(ctx context.Context, scope string, want map[string][]byte) error {
	guard := []registry.Op{r.fence}
	if scope != topicScope {
		version, claimed := r.groups[scope]
		if !claimed {
			return fmt.Errorf("%w: %s", ErrNotCoordinator, scope)
		}
		guard = append(guard, registry.Check(r.paths.group(scope), version))
	}
	// What may be there: what was wanted before, and what is wanted now.
	maybe := maps.Clone(r.published[scope])
	if maybe == nil {
		maybe = map[string][]byte{}
	}
	maps.Copy(maybe, want)
	r.published[scope] = maybe
	all := slices.Sorted(maps.Keys(maybe))
	if err := ensure(ctx, r.reg, mapped(slices.Sorted(maps.Keys(want)), registry.ParentOf)); err != nil {
		return err
	}
	err := converge(ctx, r.reg, guard, func(ctx context.Context) ([]registry.Op, error) {
		got, err := readAll(ctx, r.reg, all)
		if err != nil {
			return nil, err
		}
		var ops []registry.Op
		for i, path := range all {
			data, wanted := want[path]
			ops = append(ops, r.planAd(path, got[i], data, wanted)...)
		}
		return ops, nil
	})
	if err != nil {
		return err
	}
	r.published[scope] = want
	return nil
}

// republish makes again what an earlier incarnation had published. Groups that have a
// newer coordinator are left to it.
func (r *Registration) republish(ctx context.Context, before map[string]map[string][]byte) error {
	if err := r.take(ctx); err != nil {
		return err
	}
	defer r.give()
	for scope, want := range before {
		err := r.publish(ctx, scope, want)
		if scope != topicScope && (errors.Is(err, ErrFenced) || errors.Is(err, ErrNotCoordinator)) {
			delete(r.published, scope)
			err = nil
		}
		if err != nil {
			return fmt.Errorf("publish again: %w", err)
		}
	}
	return nil
}

// planAd brings one node from what it is to what is wanted.
func (r *Registration) planAd(path string, is found, data []byte, wanted bool) []registry.Op {
	mine := is.ok && is.Owner == r.reg.Session()
	switch {
	case !wanted && is.ok:
		return []registry.Op{registry.Delete(path, is.Version)}
	case !wanted || mine && bytes.Equal(is.Data, data):
		return nil
	case mine:
		return []registry.Op{registry.Set(path, data, is.Version)}
	default:
		return renew(path, is, data)
	}
}

// ads are the nodes of one topic on one broker, in MetaQ's formats.
func (p paths) ads(ad TopicAd, id int) map[string][]byte {
	record := encode(topicAd{NumParts: ad.Partitions, Broker: masterName(id)})
	nodes := map[string][]byte{p.old(ad.Topic, id): []byte(strconv.Itoa(ad.Partitions))}
	if ad.Publish {
		nodes[p.pub(ad.Topic, id)] = record
	}
	if ad.Subscribe {
		nodes[p.sub(ad.Topic, id)] = record
	}
	return nodes
}
