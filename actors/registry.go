package actors

import (
	"context"
	"errors"
	"time"

	"metaq/protocol"
)

// ErrOutcomeUnknown is wrapped by the error of a change that may still be carried out. A
// change whose error does not wrap it was not done and never will be.
var ErrOutcomeUnknown = errors.New("it may still be carried out")

// Registry is what the cluster actor needs from the registry: topics, and the
// epochs of the partitions that this broker leads. metaq/cluster implements it.
// Its calls may block until ctx ends, so actors make them on a worker. They may
// be made from any goroutine.
type Registry interface {
	// Topics returns all topics of the registry, sorted by name.
	Topics(ctx context.Context) ([]Topic, error)
	// CreateTopic adds a topic and returns it as it is then, with its Born;
	// protocol.ErrExists when it is there.
	CreateTopic(ctx context.Context, t Topic) (Topic, error)
	// SetTopic replaces the topic of t's name and Born; protocol.ErrNoTopic when it is not
	// there, protocol.ErrConflict when it is another one by now, or when partitions would
	// become fewer.
	SetTopic(ctx context.Context, t Topic) error
	// DeleteTopic removes the topic of that name and Born; protocol.ErrNoTopic when it is not
	// there, protocol.ErrConflict when it is another one by now.
	DeleteTopic(ctx context.Context, name string, born protocol.Epoch) error
	// ClaimEpochs takes the leadership of partitions 0..len(floor)-1 of the
	// topic on this home broker and returns their new epochs, each above every
	// earlier one and above floor.
	ClaimEpochs(ctx context.Context, topic string, floor []protocol.Epoch) ([]protocol.Epoch, error)
	// TakeProducerIDs takes n ids of native producers, which nobody else gets, at
	// the time now, and returns the first; they follow one another.
	TakeProducerIDs(ctx context.Context, now time.Time, n int) (first int64, err error)
	// Register announces this broker; Leave takes it back. Both may be repeated.
	Register(ctx context.Context, b protocol.BrokerInfo) error
	Leave(ctx context.Context) error
	// Where names what the registry is connected to: "local", or a ZooKeeper
	// server's address.
	Where() string
}

// Topic is a topic of the registry.
type Topic struct {
	Name       string
	Partitions int // on each broker
	Config     protocol.TopicConfig
	// Born tells topics apart that had the same name one after the other: it is higher
	// than that of those before. 0 for the first.
	Born protocol.Epoch
}

// ErrUnclaimable is wrapped by what ClaimEpochs returns when the registry's record of the
// partitions cannot be used as it is: it is no record, or its epochs are used up.
var ErrUnclaimable = errors.New("the partitions cannot be claimed until somebody corrects their record")
