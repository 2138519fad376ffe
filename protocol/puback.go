package protocol

import (
	"bytes"
	"encoding/json"
	"strconv"
)

// PubAck is the answer to a put or a batch. It has JetStream's fields, so that
// every JetStream client's publish works unchanged, and our own.
type PubAck struct {
	Stream    string      `json:"stream"` // <topic>-<partition>
	Seq       uint64      `json:"seq"`    // Offset + 1
	Duplicate bool        `json:"duplicate,omitempty"`
	Topic     string      `json:"topic"`
	Partition PartitionID `json:"partition"`
	Offset    Offset      `json:"offset"`          // of the first record
	Count     int         `json:"count,omitempty"` // records in the batch; absent for a single put
}

// NewPubAck returns the acknowledgement of count records from first; count is 0
// for a single put.
func NewPubAck(topic string, p PartitionID, first Offset, count int) PubAck {
	return PubAck{
		Stream: StreamName(topic, p), Seq: uint64(first) + 1,
		Topic: topic, Partition: p, Offset: first, Count: count,
	}
}

// StreamName is the name that JetStream clients see for a partition.
func StreamName(topic string, p PartitionID) string { return topic + "-" + p.String() }

// Append appends the JSON of a to dst. It is what encoding/json would write,
// without its cost: names need no escaping (see CheckName).
func (a *PubAck) Append(dst []byte) []byte {
	dst = append(dst, `{"stream":"`...)
	dst = append(dst, a.Stream...)
	dst = append(dst, `","seq":`...)
	dst = strconv.AppendUint(dst, a.Seq, 10)
	if a.Duplicate {
		dst = append(dst, `,"duplicate":true`...)
	}
	dst = append(dst, `,"topic":"`...)
	dst = append(dst, a.Topic...)
	dst = append(dst, `","partition":"`...)
	dst = strconv.AppendInt(dst, int64(a.Partition.Home), 10)
	dst = append(dst, '-')
	dst = strconv.AppendInt(dst, int64(a.Partition.N), 10)
	dst = append(dst, `","offset":`...)
	dst = strconv.AppendInt(dst, int64(a.Offset), 10)
	if a.Count != 0 {
		dst = append(dst, `,"count":`...)
		dst = strconv.AppendInt(dst, int64(a.Count), 10)
	}
	return append(dst, '}')
}

// ErrorReply is every refusal on the wire: JetStream's error form, and for a
// get out of range the ends of the log.
type ErrorReply struct {
	Error     *Error  `json:"error"`
	Stream    string  `json:"stream"`
	Seq       uint64  `json:"seq"`
	LogStart  *Offset `json:"log_start,omitempty"`
	EndOffset *Offset `json:"end_offset,omitempty"`
	JumpToEnd bool    `json:"jump_to_end,omitempty"`
	// DivergedAt and Recreated are those of a RangeError.
	DivergedAt *Offset `json:"diverged_at,omitempty"`
	Recreated  bool    `json:"recreated,omitempty"`
}

// EncodeError returns the reply for err.
func EncodeError(err error) []byte {
	r := ErrorReply{Error: AsError(err)}
	var out *RangeError
	if asRange(err, &out) {
		r.LogStart, r.EndOffset, r.JumpToEnd = &out.LogStart, &out.EndOffset, out.JumpToEnd
		r.DivergedAt, r.Recreated = out.DivergedAt, out.Recreated
	}
	return mustJSON(r)
}

// DecodeError returns the error in a reply, or nil when the reply is none.
func DecodeError(b []byte) error {
	if len(b) == 0 || b[0] != '{' {
		return nil
	}
	var r ErrorReply
	if json.Unmarshal(b, &r) != nil || r.Error == nil {
		return nil
	}
	if r.LogStart != nil && r.EndOffset != nil {
		return &RangeError{
			Err: r.Error, LogStart: *r.LogStart, EndOffset: *r.EndOffset, JumpToEnd: r.JumpToEnd,
			DivergedAt: r.DivergedAt, Recreated: r.Recreated,
		}
	}
	return r.Error
}

// mustJSON leaves < and > as they are: nobody shows answers as HTML, and people
// read them.
func mustJSON(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic("protocol: " + err.Error()) // our own types always encode
	}
	return bytes.TrimSuffix(b.Bytes(), []byte{'\n'})
}
