package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"metaq/client"
	"metaq/client/clienttest"
)

// A member of a group. Start more of them, with the same group, and they split the
// partitions. A record counts as processed when its handler has returned nil.
func ExampleConsumer() {
	broker := clienttest.NewBroker() // a real program connects to one that runs
	defer broker.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c, err := client.Connect(ctx, client.WithServers(broker.URL))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	fill(ctx, c, "orders", "ordered", "paid", "shipped")

	done, finish := context.WithCancel(ctx)
	consumer, err := c.NewConsumer(ctx, "billing", []string{"orders"}, func(_ context.Context, r client.Record) error {
		fmt.Printf("%d: %s %s\n", r.Offset, r.Key, r.Value)
		if string(r.Value) == "shipped" {
			finish()
		}
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	select {
	case <-done.Done(): // a service waits for a signal here
	case <-consumer.Done():
		log.Fatal(consumer.Err())
	}
	if err := consumer.Close(ctx); err != nil { // commits, and leaves the group
		log.Fatal(err)
	}

	group, err := c.Admin().GroupInfo(ctx, "billing")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(group.State, "with a lag of", group.Lag)
	// Output:
	// 0: order-17 ordered
	// 1: order-17 paid
	// 2: order-17 shipped
	// empty with a lag of 0
}

// The program decides what is committed: here a whole batch, once it is stored elsewhere.
func ExampleConsumer_Commit() {
	broker := clienttest.NewBroker()
	defer broker.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c, err := client.Connect(ctx, client.WithServers(broker.URL))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	fill(ctx, c, "orders", "ordered", "paid", "shipped")

	batches := make(chan []client.Record)
	consumer, err := c.NewConsumer(ctx, "archive", []string{"orders"}, nil, client.ManualCommit(),
		client.WithBatchHandler(func(ctx context.Context, recs []client.Record) error {
			select {
			case batches <- recs:
				return nil
			case <-ctx.Done():
				return ctx.Err() // the partition goes to another member, which gets recs again
			}
		}, 100))
	if err != nil {
		log.Fatal(err)
	}
	for stored := 0; stored < 3; {
		recs := <-batches
		stored += len(recs) // a real program writes them to its database
		if err := consumer.Commit(ctx, recs...); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println("committed")
	if err := consumer.Close(ctx); err != nil {
		log.Fatal(err)
	}
	// Output: committed
}

// A record that keeps failing goes to a dead-letter topic, and the records after it are
// processed. When the cause is removed, Redrive puts it back.
func ExampleClient_Redrive() {
	broker := clienttest.NewBroker()
	defer broker.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c, err := client.Connect(ctx, client.WithServers(broker.URL))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	fill(ctx, c, "orders", "ordered", "unreadable", "shipped")

	done, finish := context.WithCancel(ctx)
	consumer, err := c.NewConsumer(ctx, "billing", []string{"orders"}, func(_ context.Context, r client.Record) error {
		switch string(r.Value) {
		case "unreadable":
			return errors.New("no amount")
		case "shipped":
			finish()
		}
		return nil
	}, client.WithRetries(2, time.Millisecond, time.Millisecond), client.OnFailure(client.DeadLetter))
	if err != nil {
		log.Fatal(err)
	}
	<-done.Done()
	if err := consumer.Close(ctx); err != nil {
		log.Fatal(err)
	}

	letters, err := c.NewReader(ctx, client.DeadLetterTopic("orders", "billing"))
	if err != nil {
		log.Fatal(err)
	}
	letter, err := letters.Next(ctx)
	if err != nil {
		log.Fatal(err)
	}
	letters.Close()
	for _, h := range letter.Headers {
		if h.Name == "Metaq-Dead-Reason" {
			fmt.Printf("%s: %s\n", letter.Value, h.Value)
		}
	}

	n, err := c.Redrive(ctx, "billing", "orders")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("put back", n)
	// Output:
	// unreadable: no amount
	// put back 1
}

// fill sends values with one key, so that they keep their order.
func fill(ctx context.Context, c *client.Client, topic string, values ...string) {
	p, err := c.NewProducer()
	if err != nil {
		log.Fatal(err)
	}
	for _, v := range values {
		if _, err := p.Send(ctx, client.Record{Topic: topic, Key: []byte("order-17"), Value: []byte(v)}); err != nil {
			log.Fatal(err)
		}
	}
	if err := p.Close(ctx); err != nil {
		log.Fatal(err)
	}
}
