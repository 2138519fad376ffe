package client

import (
	"bytes"
	"testing"

	"go.uber.org/goleak"

	"metaq/protocol"
)

func TestMain(m *testing.M) {
	makeCodecs()
	goleak.VerifyTestMain(m,
		// The actor library's limiter of its log lines sleeps for a second after a dead
		// letter, which the brokers of the examples may have.
		goleak.IgnoreAnyFunction("github.com/asynkron/protoactor-go/actor.NewDeadLetter.NewThrottle.func4.1"))
}

// makeCodecs uses zstd once. It makes its channels at first use, and those of a
// synctest bubble are closed to everybody else.
func makeCodecs() {
	var b protocol.BatchBuilder
	if err := b.Add(&protocol.Record{Value: bytes.Repeat([]byte("zstd"), 100)}); err != nil {
		panic(err)
	}
	data := b.Encode(protocol.CompressionZstd, protocol.Producer{ID: protocol.NoProducer})
	if _, err := protocol.CheckBatch(data, 0); err != nil {
		panic(err)
	}
}
