package client

import (
	"time"

	"metaq/protocol"
)

// The words of the protocol that users of this package need.
type (
	// Header is one name and value of a record. Names may repeat.
	Header = protocol.Header
	// Offset is the place of a record in its partition: dense, from 0.
	Offset = protocol.Offset
	// PartitionID names a partition, for example 0-3: broker 0's fourth.
	PartitionID = protocol.PartitionID
	// Compression is how a producer packs its batches.
	Compression = protocol.Compression
)

// The compressions of a producer.
const (
	CompressionNone = protocol.CompressionNone
	CompressionS2   = protocol.CompressionS2
	CompressionZstd = protocol.CompressionZstd
)

// Passed returns the headers with which a record that was read can be sent on. A
// producer refuses headers that mean something only in a single put, such as
// Nats-Msg-Id: here they are kept, under names that begin with Metaq-Original-.
// It does not change headers.
func Passed(headers []Header) []Header { return protocol.Passed(headers) }

// Record is one message, to be sent or as it was read.
type Record struct {
	Topic string
	// Partition is where a record was read. A record to be sent goes there only
	// if Pinned is set; else its key decides, and without a key the producer.
	Partition PartitionID
	// Pinned sends the record to Partition whatever its key is. It is never set
	// in a record that was read.
	Pinned bool
	// Epoch is set in records that were read, but for those with a filter: with the offset it
	// tells the record from one that a log got there after it had lost its end.
	Epoch protocol.Epoch
	// Offset is set in records that were read.
	Offset Offset
	// Time has millisecond precision. Zero means now when sending; the broker
	// may move it to its own clock.
	Time time.Time
	// Key decides the partition. Nil means no key; an empty key is a key.
	Key []byte
	// Value is the payload. The bytes of a record that was read may share memory
	// with those of its neighbours: change a copy.
	Value   []byte
	Headers []Header
}

// Result tells where a record was stored.
type Result struct {
	Topic     string
	Partition PartitionID
	Offset    Offset
}
