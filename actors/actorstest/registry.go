package actorstest

import (
	"context"
	"slices"
	"sync"
	"time"

	"metaq/actors"
	"metaq/protocol"
)

// Registry is a Registry in memory.
type Registry struct {
	Mu     sync.Mutex // guards what follows
	ByName map[string]actors.Topic
	epochs map[string][]protocol.Epoch
	calls  []string
	made   protocol.Epoch   // topics
	fail   map[string]error // by call, until taken away

	producers int64 // next id
	blocks    int   // attempts to take a block of them
}

// NewRegistry returns a registry with topics.
func NewRegistry(topics ...actors.Topic) *Registry {
	r := &Registry{ByName: make(map[string]actors.Topic), epochs: make(map[string][]protocol.Epoch), fail: make(map[string]error)}
	for _, t := range topics {
		r.ByName[t.Name] = t
	}
	return r
}

func (r *Registry) call(name string) error {
	r.calls = append(r.calls, name)
	return r.fail[name]
}

// SetFail has a call fail until it is taken away with nil.
func (r *Registry) SetFail(call string, err error) {
	r.Mu.Lock()
	defer r.Mu.Unlock()
	r.fail[call] = err
}

// Topics implements actors.Registry.
func (r *Registry) Topics(context.Context) ([]actors.Topic, error) {
	r.Mu.Lock()
	defer r.Mu.Unlock()
	var out []actors.Topic
	for _, t := range r.ByName {
		out = append(out, t)
	}
	return out, r.call("topics")
}

// CreateTopic implements actors.Registry.
func (r *Registry) CreateTopic(_ context.Context, t actors.Topic) (actors.Topic, error) {
	r.Mu.Lock()
	defer r.Mu.Unlock()
	if err := r.call("create " + t.Name); err != nil {
		return t, err
	}
	if _, ok := r.ByName[t.Name]; ok {
		return t, protocol.ErrExists
	}
	r.made++
	t.Born = r.made
	r.ByName[t.Name] = t
	return t, nil
}

// SetTopic implements actors.Registry.
func (r *Registry) SetTopic(_ context.Context, t actors.Topic) error {
	r.Mu.Lock()
	defer r.Mu.Unlock()
	if err := r.call("set " + t.Name); err != nil {
		return err
	}
	r.ByName[t.Name] = t
	return nil
}

// DeleteTopic implements actors.Registry.
func (r *Registry) DeleteTopic(_ context.Context, name string, born protocol.Epoch) error {
	r.Mu.Lock()
	defer r.Mu.Unlock()
	if err := r.call("delete " + name); err != nil {
		return err
	}
	if t, there := r.ByName[name]; there && t.Born != born {
		return protocol.ErrConflict.With("topic %s is another one", name)
	}
	delete(r.ByName, name)
	return nil
}

// ClaimEpochs implements actors.Registry.
func (r *Registry) ClaimEpochs(_ context.Context, topic string, floor []protocol.Epoch) ([]protocol.Epoch, error) {
	r.Mu.Lock()
	defer r.Mu.Unlock()
	if err := r.call("claim " + topic); err != nil {
		return nil, err
	}
	for len(r.epochs[topic]) < len(floor) {
		r.epochs[topic] = append(r.epochs[topic], 0)
	}
	for i, f := range floor {
		r.epochs[topic][i] = max(r.epochs[topic][i], f) + 1
	}
	return slices.Clone(r.epochs[topic][:len(floor)]), nil
}

// TakeProducerIDs implements actors.Registry.
func (r *Registry) TakeProducerIDs(_ context.Context, _ time.Time, n int) (int64, error) {
	r.Mu.Lock()
	defer r.Mu.Unlock()
	r.blocks++ // not in the story: it comes at any time
	if err := r.fail["take producer ids"]; err != nil {
		return 0, err
	}
	first := max(r.producers, 1)
	r.producers = first + int64(n)
	return first, nil
}

// Register implements actors.Registry.
func (r *Registry) Register(_ context.Context, b protocol.BrokerInfo) error {
	r.Mu.Lock()
	defer r.Mu.Unlock()
	if b.Ready {
		return r.call("announce")
	}
	return r.call("register")
}

// Leave implements actors.Registry.
func (r *Registry) Leave(context.Context) error {
	r.Mu.Lock()
	defer r.Mu.Unlock()
	return r.call("leave")
}

// Where implements actors.Registry.
func (r *Registry) Where() string { return "local" }

// BlocksAsked returns how many blocks of producer ids were asked for.
func (r *Registry) BlocksAsked() int {
	r.Mu.Lock()
	defer r.Mu.Unlock()
	return r.blocks
}

// Story returns the calls so far, in order.
func (r *Registry) Story() []string {
	r.Mu.Lock()
	defer r.Mu.Unlock()
	return slices.Clone(r.calls)
}
