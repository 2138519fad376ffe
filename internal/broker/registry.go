package broker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"metaq/actors"
	"metaq/cluster"
	"metaq/cluster/registry"
	"metaq/internal/vfs"
	"metaq/protocol"
)

// topicRegistry is the actors' Registry over a member of package cluster.
type topicRegistry struct {
	local bool
	// join registers the broker; prepared runs once after the first time, before
	// anybody reads topics.
	join     func(context.Context, protocol.BrokerInfo) (*cluster.Member, error)
	prepared func(context.Context, *cluster.Member) error

	mu     sync.Mutex // guards what follows
	member *cluster.Member
	retire func(context.Context) error // what is to be written before leaving; nil for nothing
}

var errNotRegistered = protocol.ErrUnavailable.With("the broker is not registered: try again")

func (r *topicRegistry) Now() (*cluster.Member, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.member == nil {
		return nil, errNotRegistered
	}
	return r.member, nil
}

// reached is now for a change that somebody waits for: it fails at once while the registry
// is known to be away, when nothing was sent there and nothing will be.
func (r *topicRegistry) reached() (*cluster.Member, error) {
	m, err := r.Now()
	if err == nil {
		err = onWire(m.Away())
	}
	return m, err
}

// Register implements actors.Registry. The member registers itself anew after
// each loss of its session, so the first call does it all.
func (r *topicRegistry) Register(ctx context.Context, b protocol.BrokerInfo) error {
	if _, err := r.Now(); err == nil {
		return nil
	}
	m, err := r.join(ctx, b)
	if err != nil {
		return err
	}
	if err := r.prepared(ctx, m); err != nil {
		return errors.Join(err, m.Leave(ctx))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.member = m
	return nil
}

// Leave implements actors.Registry.
func (r *topicRegistry) Leave(ctx context.Context) error {
	r.mu.Lock()
	retire := r.retire
	r.mu.Unlock()
	if retire != nil {
		bounded, cancel := context.WithTimeout(ctx, leaveTimeout)
		_ = retire(bounded) // what could not be written costs duplicates, not the stop
		cancel()
	}
	return r.leave(ctx)
}

// before makes Leave call retire first.
func (r *topicRegistry) before(retire func(context.Context) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.retire = retire
}

func (r *topicRegistry) leave(ctx context.Context) error {
	r.mu.Lock()
	m := r.member
	r.member = nil
	r.mu.Unlock()
	if m == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, leaveTimeout)
	defer cancel()
	err := m.Leave(ctx)
	if r.local && vfs.IsDiskFull(err) {
		return nil // nobody else reads a local registry, and what is ephemeral in it ends with us
	}
	if err != nil && (r.local || !gone(err)) {
		return fmt.Errorf("leave the registry: %w", err)
	}
	return nil
}

// leaveTimeout bounds how long a broker that stops waits for a registry that may not
// be there.
const leaveTimeout = 5 * time.Second

// gone says that the registration goes with its session, if it has not gone already.
func gone(err error) bool {
	return errors.Is(err, registry.ErrSessionLost) || errors.Is(err, registry.ErrUnavailable) ||
		errors.Is(err, registry.ErrUnknownOutcome) || errors.Is(err, cluster.ErrFenced)
}

// Where implements actors.Registry.
func (r *topicRegistry) Where() string {
	if r.local {
		return "local"
	}
	if m, err := r.Now(); err == nil {
		return m.Status().Server
	}
	return "zookeeper"
}

// Topics implements actors.Registry.
func (r *topicRegistry) Topics(ctx context.Context) ([]actors.Topic, error) {
	m, err := r.Now()
	if err != nil {
		return nil, err
	}
	list, err := m.Topics(ctx)
	if err != nil {
		return nil, onWire(err)
	}
	topics := make([]actors.Topic, len(list))
	for i, t := range list {
		topics[i] = actors.Topic{Name: t.Name, Partitions: t.Partitions, Config: t.Config, Born: t.Born}
	}
	return topics, nil
}

// CreateTopic implements actors.Registry.
func (r *topicRegistry) CreateTopic(ctx context.Context, t actors.Topic) (actors.Topic, error) {
	m, err := r.reached()
	if err != nil {
		return t, err
	}
	made, err := m.MakeTopic(ctx, record(t))
	t.Born = made.Born
	return t, onWire(err)
}

// SetTopic implements actors.Registry.
func (r *topicRegistry) SetTopic(ctx context.Context, t actors.Topic) error {
	m, err := r.reached()
	if err != nil {
		return err
	}
	return onWire(m.SetTopic(ctx, record(t)))
}

func record(t actors.Topic) cluster.Topic {
	return cluster.Topic{Name: t.Name, Partitions: t.Partitions, Config: t.Config, Born: t.Born}
}

// DeleteTopic implements actors.Registry.
func (r *topicRegistry) DeleteTopic(ctx context.Context, name string, born protocol.Epoch) error {
	m, err := r.reached()
	if err != nil {
		return err
	}
	return onWire(m.DeleteTopicBorn(ctx, name, born))
}

// TakeProducerIDs implements actors.Registry.
func (r *topicRegistry) TakeProducerIDs(ctx context.Context, now time.Time, n int) (int64, error) {
	m, err := r.reached()
	if err != nil {
		return 0, err
	}
	first, err := m.TakeProducerIDs(ctx, now, n)
	return first, onWire(err)
}

// ClaimEpochs implements actors.Registry.
func (r *topicRegistry) ClaimEpochs(ctx context.Context, topic string, floor []protocol.Epoch) ([]protocol.Epoch, error) {
	m, err := r.Now()
	if err != nil {
		return nil, err
	}
	epochs, err := m.ClaimEpochs(ctx, topic, floor)
	if errors.Is(err, cluster.ErrRecord) || errors.Is(err, cluster.ErrEpochs) {
		return nil, fmt.Errorf("%w: %w", actors.ErrUnclaimable, err)
	}
	return epochs, onWire(err)
}
