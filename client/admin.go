package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"metaq/protocol"
)

// Admin makes administration requests, one attempt each: a ctx without deadline
// counts as one of 5 s. Every call returns the broker's refusal (compare with
// ErrNoTopic, ErrExists, ErrBadName ...), or an error that wraps ErrNoBroker when
// no broker serves the request. Its methods may be called from any goroutine.
type Admin struct {
	c *Client
}

// Ping asks any broker for its state, and fails unless it is ready.
func (a *Admin) Ping(ctx context.Context) (protocol.BrokerInfo, error) {
	b, err := a.BrokerInfo(ctx)
	if err == nil && !b.Ready {
		err = fmt.Errorf("broker %d at %s is not ready yet: try again", b.BrokerID, a.c.Servers())
	}
	return b, err
}

// WaitReady pings until a broker is ready or ctx ends; it then returns the last
// reason. ctx should have an end.
func (a *Admin) WaitReady(ctx context.Context) (protocol.BrokerInfo, error) {
	var last error
	for attempt := 0; ; attempt++ {
		b, err := a.ping(ctx)
		if err == nil {
			return b, nil
		}
		if last == nil || ctx.Err() == nil { // the end of ctx is no reason
			last = err
		}
		if pause(ctx, backoff(attempt)) != nil {
			return b, last
		}
	}
}

// ping is Ping with a short timeout, for a broker that hangs while it starts.
func (a *Admin) ping(ctx context.Context) (protocol.BrokerInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return a.Ping(ctx)
}

// BrokerInfo asks any broker for itself.
func (a *Admin) BrokerInfo(ctx context.Context) (protocol.BrokerInfo, error) {
	var b protocol.BrokerInfo
	err := a.c.call(ctx, a.c.subjects.Admin("broker", "info"), struct{}{}, &b)
	if err != nil {
		err = fmt.Errorf("ask for a broker: %w", err)
	}
	return b, err
}

// ClusterInfo describes the brokers, and the partitions that do not serve.
func (a *Admin) ClusterInfo(ctx context.Context) (all protocol.ClusterInfo, err error) {
	all.Brokers, all.Failed, all.Leaderless = []protocol.BrokerInfo{}, []protocol.FailedPartition{}, []protocol.FailedPartition{}
	err = protocol.EachPage(func(after string) (string, error) {
		var page protocol.ClusterInfo
		err := a.c.call(ctx, a.c.subjects.Admin("cluster", "info"), protocol.ListRequest{After: after}, &page)
		all.Brokers = append(all.Brokers, page.Brokers...)
		all.Failed = append(all.Failed, page.Failed...)
		all.Leaderless = append(all.Leaderless, page.Leaderless...)
		return page.Next, err
	})
	if err != nil {
		err = fmt.Errorf("describe the cluster: %w", err)
	}
	return all, err
}

// CreateTopic creates a topic. Partitions are per broker; 0 means the broker's
// default.
func (a *Admin) CreateTopic(ctx context.Context, req protocol.TopicCreate) (protocol.TopicInfo, error) {
	return a.topic(ctx, "create", req.Topic, req)
}

// SetTopic changes a topic. Nil fields stay as they are; partitions only grow.
func (a *Admin) SetTopic(ctx context.Context, req protocol.TopicSet) (protocol.TopicInfo, error) {
	return a.topic(ctx, "set", req.Topic, req)
}

// TopicInfo describes a topic and its partitions, which are sorted by
// PartitionID.Compare.
func (a *Admin) TopicInfo(ctx context.Context, topic string) (protocol.TopicInfo, error) {
	return a.topic(ctx, "info", topic, protocol.TopicName{Topic: topic})
}

// topicInfo is TopicInfo without words for the error. use says that the topic may be
// created for this.
func (c *Client) topicInfo(ctx context.Context, topic string, use bool) (info protocol.TopicInfo, err error) {
	err = c.call(ctx, c.subjects.Admin("topic", "info"), protocol.TopicName{Topic: topic, AutoCreate: use}, &info)
	if err == nil {
		err = c.morePartitions(ctx, &info)
	}
	return info, err
}

// morePartitions asks for those that follow a topic's first page.
func (c *Client) morePartitions(ctx context.Context, info *protocol.TopicInfo) error {
	for info.Next != "" {
		var page protocol.TopicInfo
		err := c.call(ctx, c.subjects.Admin("topic", "info"), protocol.TopicName{Topic: info.Topic, After: info.Next}, &page)
		if err != nil {
			return fmt.Errorf("the partitions of topic %s after %s: %w", info.Topic, info.Next, err)
		}
		if page.Next == info.Next {
			return protocol.ErrInternal.With("a page says that the next one is itself: %q", page.Next)
		}
		info.Partitions, info.Next = append(info.Partitions, page.Partitions...), page.Next
	}
	return nil
}

func (a *Admin) topic(ctx context.Context, verb, topic string, req any) (protocol.TopicInfo, error) {
	var info protocol.TopicInfo
	if err := checkTopic(topic); err != nil {
		return info, err
	}
	err := a.c.call(ctx, a.c.subjects.Admin("topic", verb), req, &info)
	if err == nil {
		if err = a.c.morePartitions(ctx, &info); err != nil && verb != "info" {
			err = fmt.Errorf("done, but it cannot all be shown: %w", err)
		}
	}
	if err != nil {
		err = fmt.Errorf("topic %s %s: %w", verb, topic, err)
	}
	return info, err
}

// DeleteTopic deletes a topic and its messages: the one that is there when it is called.
// One of the same name that somebody makes before the request arrives stays, and the error
// is ErrConflict.
func (a *Admin) DeleteTopic(ctx context.Context, topic string) error {
	if err := checkTopic(topic); err != nil {
		return err
	}
	var (
		info protocol.TopicInfo
		done protocol.Done
	)
	err := a.c.call(ctx, a.c.subjects.Admin("topic", "info"), protocol.TopicName{Topic: topic}, &info)
	if err == nil {
		err = a.c.call(ctx, a.c.subjects.Admin("topic", "delete"), protocol.TopicName{Topic: topic, Born: info.Born}, &done)
	}
	if err != nil {
		return fmt.Errorf("topic delete %s: %w", topic, err)
	}
	return nil
}

// ListTopics returns all topics, sorted by name.
func (a *Admin) ListTopics(ctx context.Context) ([]protocol.TopicSummary, error) {
	all := []protocol.TopicSummary{}
	err := protocol.EachPage(func(after string) (string, error) {
		var page protocol.TopicList
		err := a.c.call(ctx, a.c.subjects.Admin("topic", "ls"), protocol.ListRequest{After: after}, &page)
		all = append(all, page.Topics...)
		return page.Next, err
	})
	if err != nil {
		return nil, fmt.Errorf("topic ls: %w", err)
	}
	return all, nil
}

// Offsets returns the ends of a partition's log. Its Offset is that of the first
// record at or after at, or the end offset when there is none; with a zero at it
// is the end offset.
func (a *Admin) Offsets(ctx context.Context, topic string, p PartitionID, at time.Time) (protocol.OffsetsReply, error) {
	return a.offsets(ctx, topic, p, at, protocol.OffsetsRequest{})
}

// lineage is Offsets with the epochs of the log. A broker that does not know epochs yet
// tells none.
func (a *Admin) lineage(ctx context.Context, topic string, p PartitionID, at time.Time) (protocol.OffsetsReply, error) {
	reply, err := a.offsets(ctx, topic, p, at, protocol.OffsetsRequest{Epochs: true})
	if errors.Is(err, protocol.ErrBadRequest) {
		return a.Offsets(ctx, topic, p, at)
	}
	return reply, err
}

func (a *Admin) offsets(ctx context.Context, topic string, p PartitionID, at time.Time, req protocol.OffsetsRequest) (protocol.OffsetsReply, error) {
	var reply protocol.OffsetsReply
	if err := checkTopic(topic); err != nil {
		return reply, err
	}
	if !at.IsZero() {
		at = at.UTC()
		req.Time = &at
	}
	err := a.c.call(ctx, a.c.subjects.Partition(protocol.OpOffsets, topic, p), req, &reply)
	if err != nil {
		err = fmt.Errorf("offsets of %s %s: %w", topic, p, err)
	}
	return reply, err
}

func checkTopic(name string) error {
	if err := protocol.CheckName("topic", name); err != nil {
		return protocol.ErrBadName.With("%v", err)
	}
	return nil
}
