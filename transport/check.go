package transport

import (
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"

	"metaq/actors"
	"metaq/protocol"
)

// checkOf reads JetStream's publish headers that the partition judges; nil when
// there are none. Of a header that stands twice the first counts, as in JetStream.
func checkOf(h nats.Header) (*actors.Check, error) {
	if len(h) == 0 {
		return nil, nil
	}
	k := actors.Check{
		ID:     first(h, protocol.HeaderMsgID),
		Stream: first(h, protocol.HeaderExpectStream),
		LastID: first(h, protocol.HeaderExpectMsgID),
	}
	if text := strings.TrimSpace(first(h, protocol.HeaderExpectSeq)); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return nil, protocol.ErrWrongSequence.With("wrong last sequence: %s is %q, which is no number", protocol.HeaderExpectSeq, text)
		}
		k.LastSequence = &n
	}
	if k == (actors.Check{}) {
		return nil, nil
	}
	return &k, nil
}

func first(h nats.Header, name string) string {
	if values := h[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// onePartition refuses what only one partition can judge when the topic has more
// and the subject names none.
func (t *topicState) onePartition(k *actors.Check) error {
	n := len(t.route.All)
	if k == nil || n <= 1 {
		return nil
	}
	refusal := func(e *protocol.Error, header string) error {
		return e.With("header %s needs one partition and topic %s has %d: publish to <prefix>.put.%s.<partition>",
			header, t.route.Name, n, t.route.Name)
	}
	switch {
	case k.Stream != "":
		return refusal(protocol.ErrStreamDiffers, protocol.HeaderExpectStream)
	case k.LastSequence != nil:
		return refusal(protocol.ErrWrongSequence, protocol.HeaderExpectSeq)
	case k.LastID != "":
		return refusal(protocol.ErrWrongMsgID, protocol.HeaderExpectMsgID)
	}
	return nil
}

// routingKey is what chooses the partition of a message that names none: its key,
// else its id, so that a message that is sent again meets the first one; nil when
// it has neither.
func routingKey(key []byte, k *actors.Check) []byte {
	if key == nil && k != nil && k.ID != "" {
		return []byte(k.ID)
	}
	return key
}
