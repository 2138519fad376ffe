package transport

import (
	"bytes"
	"encoding/json"
	"fmt"

	"metaq/actors"
	"metaq/protocol"
)

// encodeAnswer appends the wire form of what an actor answered to dst. An
// answer that is larger than limit (the NATS payload) becomes one that says
// so: it must not vanish, nor be told as a refusal of what was done. Lists are
// cut into pages before. It is called from any goroutine.
func encodeAnswer(dst []byte, answer any, limit int) []byte {
	at := len(dst)
	out, err := appendAnswer(dst, answer, limit)
	if err == nil && len(out)-at > limit {
		err = protocol.ErrAnswerSize.With("the request was carried out, but its answer has %d bytes, more than the NATS payload of %d: raise maxPayload to see it",
			len(out)-at, limit)
	}
	if err != nil {
		return append(out[:at], protocol.EncodeError(err)...)
	}
	return out
}

// appendAnswer appends answer or returns what to refuse the request with; dst
// may have grown either way.
func appendAnswer(dst []byte, answer any, limit int) ([]byte, error) {
	switch a := answer.(type) {
	case protocol.PubAck:
		return a.Append(dst), nil
	case *actors.GetResult:
		if a.Format == protocol.FormatBatch {
			return appendBatches(dst, a, limit)
		}
		return appendMessages(dst, a, limit)
	case *encodedError:
		return append(dst, a.wire...), nil
	case error:
		return dst, a
	case protocol.OffsetsReply, protocol.TopicInfo, protocol.TopicList, protocol.Done,
		protocol.BrokerInfo, protocol.ClusterInfo, protocol.NodeState, protocol.PartitionInfo, protocol.ProducerGrant, protocol.LeaseAnswer,
		protocol.GroupView, protocol.GroupOffsets, protocol.GroupInfo, protocol.GroupList:
		var out bytes.Buffer
		enc := json.NewEncoder(&out)
		enc.SetEscapeHTML(false) // people read it
		err := enc.Encode(a)
		return append(dst, bytes.TrimSuffix(out.Bytes(), []byte{'\n'})...), err
	default:
		return dst, protocol.ErrInternal.With("an actor answered with %T", answer)
	}
}

// frame is another broker's answer: it is passed back as it is. read says that it answers a
// get, of which there may be more.
type frame struct {
	bytes []byte
	read  bool
}

// isRead reports whether answer is one to a get.
func isRead(answer any) bool {
	if f, ok := answer.(frame); ok {
		return f.read
	}
	_, ok := answer.(*actors.GetResult)
	return ok
}

// costly reports whether a get takes long to encode: more than 64 KiB, decompressed.
func costly(r *actors.GetResult) bool {
	raw := 0
	for rest := r.Batches; len(rest) > 0 && raw <= 64<<10; {
		h, err := protocol.ParseBatchHeader(rest)
		if err != nil || h.Length > len(rest) {
			break
		}
		raw, rest = raw+h.RawLen, rest[h.Length:]
	}
	return raw > 64<<10
}

// readyFrame returns the answer as it can be sent without encoding it, or nil.
func readyFrame(answer any, limit int) []byte {
	if f, ok := answer.(frame); ok {
		return f.bytes
	}
	if r, ok := answer.(*actors.GetResult); ok && r.Format == protocol.FormatBatch && len(r.Frame) <= limit {
		return r.Frame
	}
	return nil
}

// appendBatches appends the answer to a get in the format "batch": as many whole
// batches as fit.
func appendBatches(dst []byte, r *actors.GetResult, limit int) ([]byte, error) {
	at := len(dst)
	head := protocol.FetchHeader{LogStart: r.LogStart, EndOffset: r.EndOffset, More: r.More}
	dst = protocol.AppendFetchHeader(dst, head)
	room, rest := limit-protocol.FetchHeaderSize, r.Batches
	for len(rest) > 0 {
		h, err := protocol.ParseBatchHeader(rest)
		if err != nil || h.Length > len(rest) {
			return dst, damaged(r, err)
		}
		if h.Length > room {
			if len(rest) == len(r.Batches) {
				return dst, protocol.ErrTooLarge.With("the batch at offset %d has %d bytes, which do not fit the NATS payload of %d: raise it",
					h.Base, h.Length, limit)
			}
			// What follows would not continue this: let the client ask again.
			head.More = false
			protocol.AppendFetchHeader(dst[:at], head)
			break
		}
		dst, rest, room = append(dst, rest[:h.Length]...), rest[h.Length:], room-h.Length
	}
	return dst, nil
}

// getHead is protocol.GetReply up to its messages, which are appended one by
// one so that the answer can end where it is full.
type getHead struct {
	Topic      string               `json:"topic"`
	Partition  protocol.PartitionID `json:"partition"`
	NextOffset protocol.Offset      `json:"next_offset"`
	EndOffset  protocol.Offset      `json:"end_offset"`
	LogStart   protocol.Offset      `json:"log_start"`
	Epoch      protocol.Epoch       `json:"epoch,omitempty"`
}

const (
	messagesField = `,"messages":[`
	getTail       = `]}`
	offsetDigits  = 19 // of the largest offset; next_offset is known last
	epochDigits   = len(`,"epoch":4294967295`)
)

// appendMessages appends the answer to a get in the format "json": as many
// messages as were asked for and as fit.
func appendMessages(dst []byte, r *actors.GetResult, limit int) ([]byte, error) {
	head := getHead{r.Topic, r.Partition, r.From, r.EndOffset, r.LogStart, 0}
	b, err := json.Marshal(head)
	if err != nil {
		return dst, err
	}
	var messages bytes.Buffer
	room := limit - (len(b) - 1) - offsetDigits - epochDigits - len(messagesField) - len(getTail)
	count, err := encodeMessages(&messages, r, room)
	if err != nil {
		return dst, err
	}
	head.NextOffset, head.Epoch = count.next, count.epoch
	if b, err = json.Marshal(head); err != nil {
		return dst, err
	}
	dst = append(dst, b[:len(b)-1]...)
	dst = append(dst, messagesField...)
	dst = append(dst, messages.Bytes()...)
	return append(dst, getTail...), nil
}

// progress is how far encodeMessages came.
type progress struct {
	messages int
	next     protocol.Offset
	epoch    protocol.Epoch // of the record before next
}

// maxRawRead is how many bytes, decompressed, a get in JSON looks at: with a filter that
// matches nothing, what it hands out bounds nothing. The answer's next_offset tells how far
// it came.
const maxRawRead = 8 << 20

// encodeMessages writes messages with commas between them into out until one
// does not fit into room bytes, or maxRawRead is reached.
func encodeMessages(out *bytes.Buffer, r *actors.GetResult, room int) (progress, error) {
	done := progress{next: r.From, epoch: r.Epoch}
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	raw := 0
	for rest := r.Batches; len(rest) > 0; {
		h, err := protocol.ParseBatchHeader(rest)
		if err != nil || h.Length > len(rest) {
			return done, damaged(r, err)
		}
		if raw += h.RawLen; raw > maxRawRead && done.next > r.From {
			return done, nil // the first batch that has From is always looked at whole
		}
		for rec, err := range protocol.DecodeRecords(&h, rest) {
			if err != nil {
				return done, damaged(r, err)
			}
			if rec.Offset < r.From {
				continue
			}
			if done.messages == r.MaxMessages {
				return done, nil
			}
			if r.Filter != nil && !r.Filter.Match(&rec) {
				done.next, done.epoch = rec.Offset+1, h.Epoch
				continue
			}
			at := out.Len()
			if done.messages > 0 {
				out.WriteByte(',')
			}
			if err := enc.Encode(protocol.NewMessage(&rec)); err != nil {
				return done, fmt.Errorf("encode offset %d: %w", rec.Offset, err)
			}
			out.Truncate(out.Len() - 1) // the encoder's newline
			if out.Len() > room {
				if done.messages == 0 {
					return done, protocol.ErrTooLarge.With(
						"the message at offset %d takes %d bytes as JSON, more than the NATS payload: get it in the format batch",
						rec.Offset, out.Len())
				}
				out.Truncate(at)
				return done, nil
			}
			done.messages++
			done.next, done.epoch = rec.Offset+1, h.Epoch
		}
		rest = rest[h.Length:]
	}
	return done, nil
}

func damaged(r *actors.GetResult, err error) error {
	if err == nil {
		err = protocol.ErrShortBatch
	}
	return protocol.ErrPartition.With("%s %s: what was read near offset %d is damaged: %v; check it with metaq log check",
		r.Topic, r.Partition, r.From, err)
}
