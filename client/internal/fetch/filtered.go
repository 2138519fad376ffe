package fetch

import (
	"context"
	"encoding/json"
	"fmt"

	"metaq/protocol"
)

// takeFiltered queues what a get with a filter gave. Records may be missing
// between those that came, and after them.
func (f *feed) takeFiltered(ctx context.Context, answer []byte, from protocol.Offset, known bool) error {
	var reply protocol.GetReply
	if err := json.Unmarshal(answer, &reply); err != nil {
		return fmt.Errorf("%w: answer to %s: %w", ErrCorrupt, f.subject, err)
	}
	if !known {
		from = reply.LogStart
	}
	c := &Chunk{feed: f, Topic: f.r.topic, ID: f.id, next: reply.NextOffset, Epoch: reply.Epoch, bytes: int64(len(answer))}
	for i := range reply.Messages {
		r, err := f.recordOf(&reply.Messages[i])
		if err != nil {
			return err
		}
		c.Decoded = append(c.Decoded, r)
	}
	err := f.update(ctx, func() {
		f.setEnds(reply.LogStart, reply.EndOffset)
		if f.problem = nil; !known {
			f.setFetch(from, 0)
		}
		if reply.NextOffset > from {
			f.pushLocked(c)
		}
	})
	if err != nil {
		return err
	}
	if reply.NextOffset <= from && from < reply.EndOffset {
		return protocol.ErrUnavailable.With("answer to %s makes no progress although the log ends at %d", f.subject, reply.EndOffset)
	}
	return nil
}

// recordOf turns a message in JSON into a record.
func (f *feed) recordOf(m *protocol.Message) (protocol.Record, error) {
	r := protocol.Record{Offset: m.Offset, Time: m.Time.UnixMilli()}
	var err error
	if r.Value, err = m.Payload(); err != nil {
		return r, fmt.Errorf("%w at offset %d of %s %s: %w", ErrCorrupt, m.Offset, f.r.topic, f.id, err)
	}
	key := protocol.Message{Data: m.Key, DataBase64: m.KeyBase64}
	if m.Key != nil || m.KeyBase64 != nil {
		if r.Key, err = key.Payload(); err != nil {
			return r, fmt.Errorf("%w at offset %d of %s %s: key: %w", ErrCorrupt, m.Offset, f.r.topic, f.id, err)
		}
	}
	r.Headers = m.AllHeaders()
	return r, nil
}
