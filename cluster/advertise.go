package cluster

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
)

// TopicAd is a topic as MetaQ's tools and clients see it on one broker.
type TopicAd struct {
	Topic      string
	Partitions int  // on this broker
	Publish    bool // acceptPublish
	Subscribe  bool // acceptSubscribe
}

// Advertise makes these, and no others, the topics that this broker has in MetaQ's
// brokers/topics, topics-pub and topics-sub. The nodes live as long as the session;
// leftovers of an earlier incarnation are taken over.
func (r *Registration) Advertise(ctx context.Context, ads []TopicAd) error {
	if err := r.take(ctx); err != nil {
		return fmt.Errorf("advertise: %w", err)
	}
	defer r.give()
	want := map[string][]byte{}
	for _, ad := range ads {
		for path, data := range r.paths.ads(ad, r.self.ID) {
			want[path] = data
		}
	}
	var all []string // what is wanted, and what was advertised and is not wanted any more
	var parents []string
	for path := range want {
		parents = append(parents, parentOf(path))
		all = append(all, path)
	}
	for path := range r.ads {
		if want[path] == nil {
			all = append(all, path)
		}
	}
	if err := ensure(ctx, r.reg, parents); err != nil {
		return fmt.Errorf("advertise: %w", err)
	}
	err := converge(ctx, r.reg, []Op{r.fence}, func(ctx context.Context) ([]Op, error) {
		got, err := readAll(ctx, r.reg, all)
		if err != nil {
			return nil, err
		}
		var ops []Op
		for i, path := range all {
			ops = append(ops, r.planAd(path, got[i], want[path])...)
		}
		return ops, nil
	})
	if err != nil {
		return fmt.Errorf("advertise: %w", err)
	}
	r.ads = want
	return nil
}

// planAd brings one node from what it is to what is wanted; nil data means away.
func (r *Registration) planAd(path string, is found, want []byte) []Op {
	mine := is.ok && is.Owner == r.reg.Session()
	switch {
	case want == nil && is.ok:
		return []Op{Delete(path, is.Version)}
	case want == nil || mine && bytes.Equal(is.Data, want):
		return nil
	case mine:
		return []Op{Set(path, want, is.Version)}
	default:
		return renew(path, is, want)
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
