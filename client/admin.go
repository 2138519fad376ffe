package client

import (
	"context"
	"fmt"
	"time"

	"metaq/client/internal/link"
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
		if link.Pause(ctx, link.Backoff(attempt)) != nil {
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
	return a.c.calls.BrokerInfo(ctx)
}

// ClusterInfo describes the brokers, and the partitions that do not serve.
func (a *Admin) ClusterInfo(ctx context.Context) (all protocol.ClusterInfo, err error) {
	all.Brokers, all.Failed, all.Leaderless = []protocol.BrokerInfo{}, []protocol.FailedPartition{}, []protocol.FailedPartition{}
	err = protocol.EachPage(func(after string) (string, error) {
		var page protocol.ClusterInfo
		err := a.c.calls.Call(ctx, a.c.calls.Subjects.Admin("cluster", "info"), protocol.ListRequest{After: after}, &page)
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

func (a *Admin) topic(ctx context.Context, verb, topic string, req any) (protocol.TopicInfo, error) {
	var info protocol.TopicInfo
	if err := link.CheckTopic(topic); err != nil {
		return info, err
	}
	err := a.c.calls.Call(ctx, a.c.calls.Subjects.Admin("topic", verb), req, &info)
	if err == nil {
		if err = a.c.calls.MorePartitions(ctx, &info); err != nil && verb != "info" {
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
	if err := link.CheckTopic(topic); err != nil {
		return err
	}
	var (
		info protocol.TopicInfo
		done protocol.Done
	)
	err := a.c.calls.Call(ctx, a.c.calls.Subjects.Admin("topic", "info"), protocol.TopicName{Topic: topic}, &info)
	if err == nil {
		err = a.c.calls.Call(ctx, a.c.calls.Subjects.Admin("topic", "delete"), protocol.TopicName{Topic: topic, Born: info.Born}, &done)
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
		err := a.c.calls.Call(ctx, a.c.calls.Subjects.Admin("topic", "ls"), protocol.ListRequest{After: after}, &page)
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
	return a.c.calls.Offsets(ctx, topic, p, at, protocol.OffsetsRequest{})
}
