package protocol

import (
	"bytes"
	"crypto/sha256"
)

// MessageID is what is remembered of a Nats-Msg-Id: 128 bits of its SHA-256, so
// that an id costs the same whatever its length. A false duplicate, which would
// lose a message, has odds of 1 in 3e32 for each put among a million ids, and
// nobody can make one on purpose.
type MessageID [16]byte

// MessageIDOf returns what is remembered of id.
func MessageIDOf(id string) MessageID {
	sum := sha256.Sum256([]byte(id))
	return MessageID(sum[:])
}

// GoneID is the id of a message that retention has removed.
type GoneID struct {
	ID       MessageID
	Offset   Offset
	Appended int64 // when it was appended, in milliseconds of the append clock
}

// MayHaveIDs reports whether records of the whole batch b may have ids: only the batches
// that a broker makes of single messages count, and only some of them have any.
func (h *BatchHeader) MayHaveIDs(b []byte) bool {
	return h.ProducerID == NoProducer && h.Compression == CompressionNone && bytes.Contains(b, []byte(HeaderMsgID))
}
