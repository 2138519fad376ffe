package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"metaq/cluster/registry"
)

// Registration is a broker's membership in one session, and the right to write what
// follows from it. It ends with the session, with Leave, or when a newer incarnation
// of the same broker takes over: then every write returns ErrFenced.
//
// Every write is one Multi (or a few, when it is large) that starts with a check of
// the fence: a persistent node for each broker id, whose version only grows, by one
// for each registration. Most writes also set the broker's own node under nats/brokers
// with the next revision number. That hints the other brokers, who watch it, and it is
// the token that tells afterwards whether a write of unknown outcome was done.
//
// All methods may be called from any goroutine; writes go one at a time, in turn.
type Registration struct {
	*Catalog
	witness *Witness

	fence registry.Op // the check that goes first in every write

	turn chan struct{}    // holds one token; whoever has it owns what follows
	self Broker           // as last written
	at   registry.Version // of the own node, when unsure is false
	// unsure says that the own node may have changed in ways that were not seen.
	unsure bool
	// sent are the writes that may still arrive, by revision. Invariant: all of them carry
	// the version at, so at most one of them can ever be done.
	sent  map[uint64]sentWrite
	last  uint64 // the highest revision ever sent
	calls uint64 // of write
	// published are the ephemeral nodes beside its own, by scope (see publish) and path.
	published map[string]map[string][]byte
	leases    *leases                     // nil: others go by the registration alone
	groups    map[string]registry.Version // claimed groups: the version of their record
	mirrors   map[string]*groupMirror     // of claimed groups
}

// sentWrite is a write of unknown outcome: which call of write it belongs to, and what
// to do if it was done.
type sentWrite struct {
	call uint64
	done func()
}

// Register announces a broker in this session and takes over what its own earlier
// incarnations, known by the same token, have left behind. A *TakenError names any
// other holder of the broker id. The witness may be nil.
//
// It makes MetaQ's brokers/ids/<id>/master as well. Topics come with Advertise.
func (c *Catalog) Register(ctx context.Context, b Broker, w *Witness) (*Registration, error) {
	if b.Token == "" {
		return nil, fmt.Errorf("register broker %d: %w: no token", b.ID, registry.ErrInvalid)
	}
	if err := ensure(ctx, c.reg, c.paths.fixed(b.ID)); err != nil {
		return nil, fmt.Errorf("register broker %d: make %s: %w", b.ID, c.paths.root, err)
	}
	b.Revision = 0
	for range maxAttempts {
		fence, ops, err := c.planRegister(ctx, b)
		if err != nil {
			return nil, fmt.Errorf("register broker %d: %w", b.ID, err)
		}
		err = c.reg.Multi(ctx, ops...)
		if err == nil {
			r := &Registration{
				Catalog: c, witness: w, self: b, fence: registry.Check(c.paths.fence(b.ID), fence),
				turn: make(chan struct{}, 1), sent: map[uint64]sentWrite{},
				groups: map[string]registry.Version{}, mirrors: map[string]*groupMirror{},
				published: map[string]map[string][]byte{},
			}
			r.turn <- struct{}{}
			return r, nil
		}
		// After an unknown outcome the next plan finds our own nodes, if they were made,
		// and takes them over like those of any earlier incarnation.
		if !conflict(err) && (!errors.Is(err, registry.ErrUnknownOutcome) || ctx.Err() != nil) {
			return nil, fmt.Errorf("register broker %d: %w", b.ID, err)
		}
	}
	return nil, fmt.Errorf("register broker %d: %w: its nodes keep changing", b.ID, registry.ErrUnavailable)
}

// planRegister reads what is there and says how to take it over, in one Multi, and
// which version the fence will have then.
func (c *Catalog) planRegister(ctx context.Context, b Broker) (registry.Version, []registry.Op, error) {
	p := c.paths
	got, err := readAll(ctx, c.reg, []string{p.fence(b.ID), p.broker(b.ID), p.master(b.ID), p.brokerID(b.ID), p.checksum(b.ID)})
	if err != nil {
		return 0, nil, err
	}
	fence, self, master, parent, checksum := got[0], got[1], got[2], got[3], got[4]
	switch {
	case self.ok:
		holder, err := decode[Broker](p.broker(b.ID), self.Node)
		if err == nil && holder.Token != b.Token {
			return 0, nil, &TakenError{ID: b.ID, Holder: holder}
		}
		// A record that cannot be read is replaced when no other process can be behind it: no
		// session holds it, or the last to register was an earlier incarnation of this one.
		last := fence.ok && string(fence.Data) == b.Token
		if err != nil && self.Owner != 0 && self.Owner != c.reg.Session() && !last {
			return 0, nil, fmt.Errorf("%w; the session %#x, which lives, holds it: another process may be broker %d; stop that, or delete the node", err, int64(self.Owner), b.ID)
		}
	case master.ok:
		return 0, nil, &TakenError{ID: b.ID, Holder: Broker{ID: b.ID, Host: string(master.Data)}}
	}
	next := registry.Version(0)
	var ops []registry.Op
	if fence.ok {
		next = fence.Version + 1
		ops = append(ops, registry.Set(p.fence(b.ID), []byte(b.Token), fence.Version))
	} else {
		ops = append(ops, registry.Create(p.fence(b.ID), []byte(b.Token), registry.Persistent))
	}
	// MetaQ writes the master's URL into the parent as well, for old clients; its own
	// brokers delete the parent when they leave.
	if parent.ok {
		ops = append(ops, registry.Set(p.brokerID(b.ID), []byte(b.metaURL()), parent.Version))
	} else {
		ops = append(ops, registry.Create(p.brokerID(b.ID), []byte(b.metaURL()), registry.Persistent))
	}
	ops = append(ops, renew(p.broker(b.ID), self, encode(b))...)
	ops = append(ops, renew(p.master(b.ID), master, []byte(b.metaURL()))...)
	switch {
	case b.Checksum != 0:
		ops = append(ops, renew(p.checksum(b.ID), checksum, []byte(strconv.FormatUint(uint64(b.Checksum), 10)))...)
	case checksum.ok:
		ops = append(ops, registry.Delete(p.checksum(b.ID), checksum.Version))
	}
	return next, ops, nil
}

// renew makes an ephemeral node of this session, in the place of an old one.
func renew(path string, old found, data []byte) []registry.Op {
	var ops []registry.Op
	if old.ok {
		ops = append(ops, registry.Delete(path, old.Version))
	}
	return append(ops, registry.Create(path, data, registry.Ephemeral))
}

// Self is what was announced.
func (r *Registration) Self() Broker { return r.self }

// Leave takes the announcement back: the broker's nodes and its advertised topics go.
// What the broker leads stays recorded. It may be repeated, and may be called in
// vain when a newer incarnation has taken over.
func (r *Registration) Leave(ctx context.Context) error {
	if err := r.take(ctx); err != nil {
		return fmt.Errorf("leave: %w", err)
	}
	defer r.give()
	for scope := range r.published {
		if err := r.publish(ctx, scope, nil); err != nil && !errors.Is(err, ErrFenced) && !errors.Is(err, ErrNotCoordinator) {
			return fmt.Errorf("leave: %w", err)
		}
	}
	p, id := r.paths, r.self.ID
	own := []string{p.broker(id), p.master(id), p.checksum(id)}
	err := converge(ctx, r.reg, []registry.Op{r.fence}, func(ctx context.Context) ([]registry.Op, error) {
		got, err := readAll(ctx, r.reg, append(slices.Clone(own), p.brokerID(id)))
		if err != nil {
			return nil, err
		}
		var ops []registry.Op
		for i, path := range own {
			if got[i].ok && got[i].Owner == r.reg.Session() {
				ops = append(ops, registry.Delete(path, got[i].Version))
			}
		}
		if len(ops) > 0 && got[3].ok {
			ops = append(ops, registry.Set(p.brokerID(id), nil, got[3].Version))
		}
		return ops, nil
	})
	if err != nil && !errors.Is(err, ErrFenced) {
		return fmt.Errorf("leave: %w", err)
	}
	return nil
}

// take waits for the turn to write.
func (r *Registration) take(ctx context.Context) error {
	select {
	case <-r.turn:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", registry.ErrUnavailable, context.Cause(ctx))
	case <-r.reg.Done():
		return r.reg.Err()
	}
}

func (r *Registration) give() { r.turn <- struct{}{} }

// write does what plan says in one Multi with the fence and the next revision. plan
// reads what it relies on; done is called once, for the plan that was carried out.
// A conflict, or an outcome that is unknown, is settled by reading and planning again.
// The caller has the turn. An error that does not wrap ErrUnknownOutcome means that the
// write was not done and never will be.
func (r *Registration) write(ctx context.Context, plan func(ctx context.Context) (ops []registry.Op, done func(), err error)) error {
	r.calls++
	err := r.attempt(ctx, plan)
	if err != nil && !errors.Is(err, registry.ErrUnknownOutcome) && r.mayArrive() {
		// An earlier attempt of this call was handed over, and nothing has shown yet that
		// it came too late: whatever ended the later ones, it may still be carried out.
		return fmt.Errorf("%w: %w", registry.ErrUnknownOutcome, err)
	}
	return err
}

// mayArrive reports whether an attempt of this call of write can still be carried out.
func (r *Registration) mayArrive() bool {
	for _, w := range r.sent {
		if w.call == r.calls {
			return true
		}
	}
	return false
}

func (r *Registration) attempt(ctx context.Context, plan func(ctx context.Context) (ops []registry.Op, done func(), err error)) error {
	var unknown error // the last unknown outcome of this call
	for range maxAttempts {
		if r.unsure {
			applied, err := r.resync(ctx)
			if err != nil && unknown != nil {
				err = fmt.Errorf("%w (%w)", unknown, err)
			}
			if applied || err != nil {
				return err
			}
		}
		ops, done, err := plan(ctx)
		if err != nil || len(ops) == 0 {
			return err
		}
		r.last++
		next := r.self
		next.Revision = r.last
		all := slices.Concat([]registry.Op{r.fence}, ops, []registry.Op{registry.Set(r.paths.broker(next.ID), encode(next), r.at)})
		err = r.reg.Multi(ctx, all...)
		switch fenced := brokenGuard(err, all[:1]); {
		case err == nil:
			r.self.Revision, r.at = next.Revision, r.at+1
			clear(r.sent)
			done()
			return nil
		case fenced != nil:
			return fenced
		case errors.Is(err, registry.ErrUnknownOutcome):
			unknown, r.unsure = err, true
			r.sent[next.Revision] = sentWrite{call: r.calls, done: done}
			if ctx.Err() != nil {
				return err
			}
		case conflict(err):
			// Either something that the plan relied on, or the own node: an earlier write
			// of unknown outcome may have arrived meanwhile.
			r.unsure = true
		default:
			return err
		}
	}
	return fmt.Errorf("%w: others changed the same nodes %d times", registry.ErrUnavailable, maxAttempts)
}

// resync reads the own node back. It reports that a write of unknown outcome, sent by
// this same call of write, was done after all: nothing is left to do.
func (r *Registration) resync(ctx context.Context) (applied bool, err error) {
	path := r.paths.broker(r.self.ID)
	n, err := r.reg.Get(ctx, path)
	if errors.Is(err, registry.ErrNotFound) || err == nil && n.Owner != r.reg.Session() {
		return false, fmt.Errorf("%w: %s is not ours any more", ErrFenced, path)
	}
	if err != nil {
		return false, err
	}
	b, err := decode[Broker](path, n)
	if err != nil {
		// Somebody else has written there. The next write puts it right; which of those on
		// their way were done before is not known any more.
		lost := len(r.sent) > 0
		clear(r.sent)
		r.at, r.self.Revision, r.unsure = n.Version, r.last, false
		if lost {
			return false, fmt.Errorf("%w: %w", registry.ErrUnknownOutcome, err)
		}
		return false, nil
	}
	if n.Version != r.at {
		if w, found := r.sent[b.Revision]; found {
			w.done()
			applied = w.call == r.calls
		}
		clear(r.sent) // the others carry a version that is over
	}
	r.at, r.self.Revision, r.unsure = n.Version, b.Revision, false
	return applied, nil
}
