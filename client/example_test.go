package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"sync/atomic"
	"time"

	"metaq/client"
	"metaq/client/clienttest"
	"metaq/protocol"
)

// The whole way: connect, make a topic, send, read.
func Example() {
	broker := clienttest.NewBroker() // a real program connects to one that runs
	defer broker.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c, err := client.Connect(ctx, client.WithServers(broker.URL))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Admin().CreateTopic(ctx, protocol.TopicCreate{Topic: "orders", Partitions: 2}); err != nil {
		log.Fatal(err)
	}

	p, err := c.NewProducer()
	if err != nil {
		log.Fatal(err)
	}
	for _, what := range []string{"ordered", "paid", "shipped"} {
		res, err := p.Send(ctx, client.Record{Topic: "orders", Key: []byte("order-17"), Value: []byte(what)})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("stored", what, "at", res.Partition, res.Offset)
	}
	if err := p.Close(ctx); err != nil {
		log.Fatal(err)
	}

	r, err := c.NewReader(ctx, "orders", client.StartAt(client.Earliest()))
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	for range 3 {
		rec, err := r.Next(ctx)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("read %d: %s %s\n", rec.Offset, rec.Key, rec.Value)
	}
	// Output:
	// stored ordered at 0-0 0
	// stored paid at 0-0 1
	// stored shipped at 0-0 2
	// read 0: order-17 ordered
	// read 1: order-17 paid
	// read 2: order-17 shipped
}

// Records go in batches, and each is reported once.
func ExampleProducer_SendAsync() {
	broker := clienttest.NewBroker() // a real program connects to one that runs
	defer broker.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c, err := client.Connect(ctx, client.WithServers(broker.URL))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	p, err := c.NewProducer(
		client.WithCompression(client.CompressionZstd),
		client.WithLinger(5*time.Millisecond),
		client.WithBuffer(64<<20, 100_000),
	)
	if err != nil {
		log.Fatal(err)
	}

	var stored, failed atomic.Int64
	for i := range 1000 {
		rec := client.Record{Topic: "clicks", Value: fmt.Appendf(nil, "click %d", i)}
		err := p.SendAsync(ctx, rec, func(_ client.Result, err error) {
			switch {
			case err == nil:
				stored.Add(1)
			case errors.Is(err, client.ErrOutcomeUnknown):
				log.Print("may be stored: ", err)
				failed.Add(1)
			default:
				log.Print("is not stored: ", err)
				failed.Add(1)
			}
		})
		if err != nil {
			log.Fatal(err) // not taken: too large, no such topic, ctx ended ...
		}
	}
	if err := p.Close(ctx); err != nil { // hands over all that was taken
		log.Fatal(err)
	}
	fmt.Println(stored.Load(), "stored,", failed.Load(), "failed")
	// Output:
	// 1000 stored, 0 failed
}

// A reader may begin at an offset or a time, and be moved.
func ExampleReader_Seek() {
	broker := clienttest.NewBroker() // a real program connects to one that runs
	defer broker.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c, err := client.Connect(ctx, client.WithServers(broker.URL))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	p, err := c.NewProducer()
	if err != nil {
		log.Fatal(err)
	}
	first := client.PartitionID{Home: 0, N: 0}
	for i := range 10 {
		rec := client.Record{Topic: "log", Pinned: true, Partition: first, Value: fmt.Appendf(nil, "line %d", i)}
		if _, err := p.Send(ctx, rec); err != nil {
			log.Fatal(err)
		}
	}
	if err := p.Close(ctx); err != nil {
		log.Fatal(err)
	}

	r, err := c.NewReader(ctx, "log", client.ReadPartitions(first), client.StartAt(client.AtOffset(7)))
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	show := func() {
		rec, err := r.Next(ctx)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%d: %s\n", rec.Offset, rec.Value)
	}
	show()
	if err := r.Seek(first, client.Earliest()); err != nil {
		log.Fatal(err)
	}
	show()
	lag, exact := r.Lag()
	fmt.Println("lag", lag, exact)
	// Output:
	// 7: line 7
	// 0: line 0
	// lag 9 true
}

// Errors say what happened; sentinels say what to do.
func ExampleAdmin() {
	broker := clienttest.NewBroker() // a real program connects to one that runs
	defer broker.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c, err := client.Connect(ctx, client.WithServers(broker.URL))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	a := c.Admin()
	if _, err := a.WaitReady(ctx); err != nil {
		log.Fatal(err)
	}
	_, err = a.TopicInfo(ctx, "orders")
	fmt.Println(errors.Is(err, client.ErrNoTopic), err)
	_, err = a.CreateTopic(ctx, protocol.TopicCreate{Topic: "a.b"})
	fmt.Println(errors.Is(err, client.ErrBadName), err)
	info, err := a.CreateTopic(ctx, protocol.TopicCreate{Topic: "orders", Partitions: 2})
	if err != nil {
		log.Fatal(err)
	}
	for _, p := range info.Partitions {
		fmt.Println(p.Partition, "led by broker", p.Leader, "holds", p.LogStart, "to", p.EndOffset)
	}
	// Output:
	// true topic info orders: no topic "orders": see metaq topic ls (404)
	// true topic name "a.b" is not allowed; use 1-128 of A-Z a-z 0-9 _ - (400)
	// 0-0 led by broker 0 holds 0 to 0
	// 0-1 led by broker 0 holds 0 to 0
}
