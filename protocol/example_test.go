package protocol_test

import (
	"errors"
	"fmt"
	"log"

	"metaq/protocol"
)

// A batch is what a producer sends to metaq.batch.<topic>.<partition>, what a segment
// holds, and what a get answers with.
func ExampleBatchBuilder() {
	var b protocol.BatchBuilder
	for _, value := range []string{"ordered", "paid"} {
		if err := b.Add(&protocol.Record{Key: []byte("order-17"), Value: []byte(value)}); err != nil {
			log.Fatal(err) // ErrBatchFull: encode it, and begin another one
		}
	}
	data := b.Encode(protocol.CompressionNone, protocol.Producer{ID: protocol.NoProducer})

	header, err := protocol.CheckBatch(data, 0) // what a broker does before it takes one
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(header.Count, "records from offset", header.Base)
	// Output: 2 records from offset 0
}

// Every client has to pick the same partition for a key, or the key loses its order.
func ExamplePartitionOf() {
	for _, key := range []string{"order-17", "order-18"} {
		fmt.Println(key, protocol.PartitionOf([]byte(key), 4))
	}
	// Output:
	// order-17 2
	// order-18 3
}

// The subjects that a client sends to.
func ExampleSubjects() {
	var s protocol.Subjects
	first := protocol.PartitionID{Home: 0, N: 0}
	fmt.Println(s.Put("orders"))
	fmt.Println(s.Partition(protocol.OpGet, "orders", first))
	fmt.Println(s.Group("billing", "join"))
	fmt.Println(s.Admin("topic", "create"))
	// Output:
	// metaq.put.orders
	// metaq.get.orders.0-0
	// metaq.group.billing.join
	// metaq.admin.topic.create
}

// The code of an error never changes, and its class says what a client does next.
func ExampleError_Class() {
	err := fmt.Errorf("put: %w", protocol.ErrBusy.With("9 of 8 MiB are in flight"))
	fmt.Println(errors.Is(err, protocol.ErrBusy), protocol.AsError(err).Class() == protocol.BackOffThenRetry)
	// Output: true true
}
