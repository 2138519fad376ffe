package cluster

import (
	"context"
	"fmt"
	"time"

	"metaq/cluster/registry"
)

// producers is the record under nats/producers: which ids of native producers are
// given out.
type producers struct {
	Next int64 `json:"next"` // nobody has this id, nor one above it
}

// producerShift makes the seconds of the clock the upper bits of an id: a second has
// room for a million ids.
const producerShift = 20

// maxProducer bounds the ids: they reach it in the year 2106.
const maxProducer = int64(1) << 52

// TakeProducerIDs takes n ids for native producers, which nobody else gets, and
// returns the first; they follow one another. None is below the seconds of now: so
// ids do not come again when the registry was set back to an older state.
func (r *Registration) TakeProducerIDs(ctx context.Context, now time.Time, n int) (int64, error) {
	var first int64
	err := r.inTurn(ctx, "take producer ids", func(ctx context.Context) ([]registry.Op, func(), error) {
		path := r.paths.producers()
		node, err := readOne(ctx, r.reg, path)
		if err != nil {
			return nil, nil, err
		}
		var was producers
		if node.ok {
			if was, err = decode[producers](path, node.Node); err != nil {
				return nil, nil, err
			}
		}
		from := max(was.Next, now.Unix()<<producerShift)
		if from < 0 || from > maxProducer-int64(n) {
			return nil, nil, fmt.Errorf("%s: %w: next id %d at %s; set the clock, or delete the node", path, ErrRecord, was.Next, now.UTC().Format(time.RFC3339))
		}
		return []registry.Op{putOp(path, node, encode(producers{Next: from + int64(n)}))}, func() { first = from }, nil
	})
	return first, err
}

// TakeProducerIDs is Registration.TakeProducerIDs.
func (m *Member) TakeProducerIDs(ctx context.Context, now time.Time, n int) (first int64, err error) {
	err = m.With(ctx, func(r *Registration) error { first, err = r.TakeProducerIDs(ctx, now, n); return err })
	return first, err
}
