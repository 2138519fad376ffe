package protocol

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Formats of a get reply.
const (
	FormatJSON  = "json"
	FormatBatch = "batch"
)

// GetRequest asks for messages of one partition. Absent fields take the
// defaults of docs/protocol.md.
type GetRequest struct {
	Offset *Offset `json:"offset,omitempty"` // default: log start
	// Epoch is that of the record before Offset, as it was read; the get is refused with
	// ErrDiverged when the log is not that one any more. Default 0: nothing is compared.
	Epoch       Epoch  `json:"epoch,omitempty"`
	MaxBytes    int    `json:"max_bytes,omitempty"`    // default and most: maxTransferSize
	MaxMessages int    `json:"max_messages,omitempty"` // default 1000
	WaitMs      int    `json:"wait_ms,omitempty"`      // default 0; bounded by the broker
	Format      string `json:"format,omitempty"`       // default FormatJSON
	// Answers is how many answers may come, each of at most MaxBytes and in the order
	// of the log, as long as there is something to read; all but the last say that
	// more follow. At most MaxAnswers; default 1, and always 1 with FormatJSON.
	Answers int `json:"answers,omitempty"`
	// Filter leaves messages out; next_offset still moves past them. It works with
	// FormatJSON, since a batch is sent as it is on disk.
	Filter *Filter `json:"filter,omitempty"`
}

// MaxAnswers is the largest number of answers to one get.
const MaxAnswers = 16

// GetReply is the answer to a GetRequest in FormatJSON.
type GetReply struct {
	Topic      string      `json:"topic"`
	Partition  PartitionID `json:"partition"`
	NextOffset Offset      `json:"next_offset"`
	EndOffset  Offset      `json:"end_offset"`
	LogStart   Offset      `json:"log_start"`
	Epoch      Epoch       `json:"epoch,omitempty"` // of the record before NextOffset; 0: not known
	Messages   []Message   `json:"messages"`
}

// Message is a record in JSON: in replies to get and in `metaq consume --json`.
// Its value is Data where it is UTF-8, else DataBase64; likewise the key, and the
// values of each header.
type Message struct {
	Topic         string              `json:"topic,omitempty"`
	Partition     *PartitionID        `json:"partition,omitempty"`
	Offset        Offset              `json:"offset"`
	Time          time.Time           `json:"time"` // UTC, milliseconds
	Key           *string             `json:"key,omitempty"`
	KeyBase64     *string             `json:"key_base64,omitempty"`
	Headers       map[string][]string `json:"headers,omitempty"`
	HeadersBase64 map[string][][]byte `json:"headers_base64,omitempty"` // those with a value that is not UTF-8
	Data          *string             `json:"data,omitempty"`
	DataBase64    *string             `json:"data_base64,omitempty"`
}

// NewMessage returns r as a Message without topic and partition.
func NewMessage(r *Record) Message {
	m := Message{Offset: r.Offset, Time: time.UnixMilli(r.Time).UTC()}
	if r.Key != nil {
		m.Key, m.KeyBase64 = textOrBase64(r.Key)
	}
	for _, h := range r.Headers {
		if m.Headers == nil {
			m.Headers = make(map[string][]string, len(r.Headers))
		}
		m.Headers[h.Name] = append(m.Headers[h.Name], h.Value)
	}
	for _, h := range r.Headers {
		if !utf8.ValidString(h.Value) {
			m.encodeHeader(h.Name)
		}
	}
	m.Data, m.DataBase64 = textOrBase64(r.Value)
	return m
}

// encodeHeader moves a header, whose values JSON would spoil.
func (m *Message) encodeHeader(name string) {
	if m.HeadersBase64 == nil {
		m.HeadersBase64 = map[string][][]byte{}
	}
	for _, v := range m.Headers[name] {
		m.HeadersBase64[name] = append(m.HeadersBase64[name], []byte(v))
	}
	delete(m.Headers, name)
}

// AllHeaders returns the message's headers, sorted by name, the values of one name
// in their order.
func (m *Message) AllHeaders() []Header {
	var all []Header
	for name, values := range m.Headers {
		for _, v := range values {
			all = append(all, Header{Name: name, Value: v})
		}
	}
	for name, values := range m.HeadersBase64 {
		for _, v := range values {
			all = append(all, Header{Name: name, Value: string(v)})
		}
	}
	slices.SortStableFunc(all, func(a, b Header) int { return strings.Compare(a.Name, b.Name) })
	return all
}

func textOrBase64(b []byte) (text, b64 *string) {
	if utf8.Valid(b) {
		s := string(b)
		return &s, nil
	}
	s := base64.StdEncoding.EncodeToString(b)
	return nil, &s
}

// Payload returns the message's payload.
func (m *Message) Payload() ([]byte, error) {
	if m.DataBase64 != nil {
		return base64.StdEncoding.DecodeString(*m.DataBase64)
	}
	if m.Data != nil {
		return []byte(*m.Data), nil
	}
	return nil, nil
}

// OffsetsRequest asks for the ends of a partition's log and, with Time, for the
// offset of the first record at or after it.
type OffsetsRequest struct {
	Time *time.Time `json:"time,omitempty"`
	// Epochs asks for the epochs of the log, see Lineage.
	Epochs bool `json:"epochs,omitempty"`
}

// OffsetsReply is the answer: Offset is the end offset when no record is that
// new, or when no time was asked for.
type OffsetsReply struct {
	LogStart  Offset `json:"log_start"`
	EndOffset Offset `json:"end_offset"`
	Offset    Offset `json:"offset"`
	// Epochs are the newest MaxLineage ones of the log, oldest first, if they were asked for.
	Epochs []EpochStart `json:"epochs,omitempty"`
}

// Lineage returns what the answer says of the log.
func (r *OffsetsReply) Lineage() Lineage { return Lineage{r.LogStart, r.EndOffset, r.Epochs} }

// RangeError says that an offset lies outside the log, or is on another branch of it.
type RangeError struct {
	Err       *Error
	LogStart  Offset
	EndOffset Offset
	JumpToEnd bool // the broker lets consumer groups go on at EndOffset: updateConsumerOffsets
	// DivergedAt is where the log and the one that was read part; nil: Err is ErrRange.
	DivergedAt *Offset
	// Recreated says that the one that was read was an earlier topic's of the same name.
	Recreated bool
}

// NewDivergedError returns the refusal of an offset that is on another branch of the log.
func NewDivergedError(at, logStart, end Offset, format string, args ...any) *RangeError {
	return &RangeError{Err: ErrDiverged.With(format, args...), LogStart: logStart, EndOffset: end, DivergedAt: &at}
}

// NewRangeError returns the refusal of offset.
func NewRangeError(offset, logStart, end Offset) *RangeError {
	return &RangeError{
		Err:      ErrRange.With("offset %d is out of range: ask for %d to %d", offset, logStart, end),
		LogStart: logStart, EndOffset: end,
	}
}

// Error returns the text of Err.
func (e *RangeError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *RangeError) Unwrap() error { return e.Err }

// Is makes an offset on another branch one that is out of range, for those who look for
// ErrRange only.
func (e *RangeError) Is(target error) bool { return target == error(ErrRange) }

func asRange(err error, out **RangeError) bool { return errors.As(err, out) }

// Check returns a refusal when a field is out of its range.
func (r *GetRequest) Check() error {
	var why string
	switch {
	case r.Offset != nil && *r.Offset < 0:
		why = fmt.Sprintf("offset %d is negative", *r.Offset)
	case r.MaxBytes < 0:
		why = fmt.Sprintf("max_bytes %d is negative", r.MaxBytes)
	case r.MaxMessages < 0:
		why = fmt.Sprintf("max_messages %d is negative", r.MaxMessages)
	case r.Answers < 0:
		why = fmt.Sprintf("answers %d is negative", r.Answers)
	case r.WaitMs < 0:
		why = fmt.Sprintf("wait_ms %d is negative", r.WaitMs)
	case r.Format != "" && r.Format != FormatJSON && r.Format != FormatBatch:
		why = fmt.Sprintf("format %q is not known; use json or batch", clip(r.Format))
	case r.Filter != nil && r.Format == FormatBatch:
		why = "a filter works with the format json"
	case r.Filter != nil:
		return r.Filter.Check()
	default:
		return nil
	}
	return ErrBadRequest.With("%s", why)
}
