package link

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"metaq/protocol"
)

// RequestTimeout bounds a request whose ctx has no deadline of its own.
const RequestTimeout = 5 * time.Second

// Caller makes the requests of the protocol over a link. Its methods may be called
// from any goroutine.
type Caller struct {
	Link     Link
	Subjects protocol.Subjects

	describing sync.Map // *description by topic: lookups under way
}

// NewCaller returns a Caller of the subjects below prefix; an empty one means the default.
func NewCaller(l Link, prefix string) *Caller {
	return &Caller{Link: l, Subjects: protocol.Subjects{Prefix: prefix}}
}

// Call makes one request with JSON both ways. A refusal comes back as a
// *protocol.Error or *protocol.RangeError.
func (c *Caller) Call(ctx context.Context, subject string, req, reply any) error {
	data, err := json.Marshal(req)
	if err != nil {
		return fmt.Errorf("encode request %s: %w", subject, err)
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, RequestTimeout)
		defer cancel()
	}
	answer, err := c.Link.Request(ctx, subject, data)
	if err != nil {
		return err
	}
	if err := protocol.DecodeError(answer); err != nil {
		return err
	}
	if err := json.Unmarshal(answer, reply); err != nil {
		return fmt.Errorf("decode answer to %s: %w", subject, err)
	}
	return nil
}

// BrokerInfo returns the state of any one broker.
func (c *Caller) BrokerInfo(ctx context.Context) (protocol.BrokerInfo, error) {
	var b protocol.BrokerInfo
	err := c.Call(ctx, c.Subjects.Admin("broker", "info"), struct{}{}, &b)
	if err != nil {
		err = fmt.Errorf("ask for a broker: %w", err)
	}
	return b, err
}

// TopicInfo describes a topic, with all pages of its partitions; the error is not wrapped.
// With use set the broker may create the topic.
func (c *Caller) TopicInfo(ctx context.Context, topic string, use bool) (info protocol.TopicInfo, err error) {
	err = c.Call(ctx, c.Subjects.Admin("topic", "info"), protocol.TopicName{Topic: topic, AutoCreate: use}, &info)
	if err == nil {
		err = c.MorePartitions(ctx, &info)
	}
	return info, err
}

// MorePartitions appends the pages that follow a topic's first one to info.
func (c *Caller) MorePartitions(ctx context.Context, info *protocol.TopicInfo) error {
	for info.Next != "" {
		var page protocol.TopicInfo
		err := c.Call(ctx, c.Subjects.Admin("topic", "info"), protocol.TopicName{Topic: info.Topic, After: info.Next}, &page)
		if err != nil {
			return fmt.Errorf("the partitions of topic %s after %s: %w", info.Topic, info.Next, err)
		}
		if page.Next == info.Next {
			return protocol.ErrInternal.With("page %q of the partition list names itself as the next page", page.Next)
		}
		info.Partitions, info.Next = append(info.Partitions, page.Partitions...), page.Next
	}
	return nil
}

// Lineage returns the offsets together with the epochs of the log. A broker that predates
// epochs returns none.
func (c *Caller) Lineage(ctx context.Context, topic string, p protocol.PartitionID, at time.Time) (protocol.OffsetsReply, error) {
	reply, err := c.Offsets(ctx, topic, p, at, protocol.OffsetsRequest{Epochs: true})
	if errors.Is(err, protocol.ErrBadRequest) {
		return c.Offsets(ctx, topic, p, at, protocol.OffsetsRequest{})
	}
	return reply, err
}

// Offsets asks a partition's leader for the ends of its log, and for the offset of a time
// unless at is zero.
func (c *Caller) Offsets(ctx context.Context, topic string, p protocol.PartitionID, at time.Time, req protocol.OffsetsRequest) (protocol.OffsetsReply, error) {
	var reply protocol.OffsetsReply
	if err := CheckTopic(topic); err != nil {
		return reply, err
	}
	if !at.IsZero() {
		at = at.UTC()
		req.Time = &at
	}
	err := c.Call(ctx, c.Subjects.Partition(protocol.OpOffsets, topic, p), req, &reply)
	if err != nil {
		err = fmt.Errorf("offsets of %s %s: %w", topic, p, err)
	}
	return reply, err
}

// CheckTopic returns ErrBadName unless name may name a topic.
func CheckTopic(name string) error {
	if err := protocol.CheckName("topic", name); err != nil {
		return protocol.ErrBadName.With("%v", err)
	}
	return nil
}

// CheckGroup returns ErrBadName unless name may name a group.
func CheckGroup(name string) error {
	if err := protocol.CheckName("group", name); err != nil {
		return protocol.ErrBadName.With("%v", err)
	}
	return nil
}

// Group makes one request to a group's coordinator.
func (c *Caller) Group(ctx context.Context, group, verb string, req, reply any) error {
	return c.GroupAs(ctx, group, verb, verb, req, reply)
}

// GroupAs is Group with another word for the request in the error: what the caller did.
func (c *Caller) GroupAs(ctx context.Context, group, verb, as string, req, reply any) error {
	if err := CheckGroup(group); err != nil {
		return err
	}
	if err := c.Call(ctx, c.Subjects.Group(group, verb), req, reply); err != nil {
		return fmt.Errorf("group %s %s: %w", as, group, err)
	}
	return nil
}
