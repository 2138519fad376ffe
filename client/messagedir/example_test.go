package messagedir_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"metaq/client"
	"metaq/client/clienttest"
	"metaq/client/messagedir"
)

// A record that cannot be processed now is kept on the disk of the consumer's machine.
// The handler gets it again every five minutes, and when a consumer of the same group
// starts with the same directory.
func Example() {
	broker := clienttest.NewBroker() // a real program connects to one that runs
	defer broker.Close()
	dir, err := os.MkdirTemp("", "messagedir") // a real program has a fixed one
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()

	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c, err := client.Connect(ctx, client.WithServers(broker.URL), client.WithMessageDir(messagedir.New(dir)))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	p, err := c.NewProducer()
	if err != nil {
		log.Fatal(err)
	}
	for _, v := range []string{"ordered", "paid"} {
		if _, err := p.Send(ctx, client.Record{Topic: "orders", Key: []byte("order-42"), Value: []byte(v)}); err != nil {
			log.Fatal(err)
		}
	}
	if err := p.Close(ctx); err != nil {
		log.Fatal(err)
	}

	// run processes records until it has seen the one that is called last.
	run := func(last string, handle client.Handler) {
		done, finish := context.WithCancel(ctx)
		consumer, err := c.NewConsumer(ctx, "billing", []string{"orders"}, func(ctx context.Context, r client.Record) error {
			err := handle(ctx, r)
			if string(r.Value) == last {
				finish()
			}
			return err
		}, client.OnFailure(client.Keep), client.WithRetries(0, time.Second, time.Second))
		if err != nil {
			log.Fatal(err)
		}
		<-done.Done()
		if err := consumer.Close(ctx); err != nil {
			log.Fatal(err)
		}
	}
	run("paid", func(_ context.Context, r client.Record) error {
		if string(r.Value) == "ordered" {
			fmt.Println("kept:", string(r.Value))
			return errors.New("the database is down")
		}
		fmt.Println("processed:", string(r.Value))
		return nil
	})
	run("ordered", func(_ context.Context, r client.Record) error {
		fmt.Println("processed after a restart:", string(r.Value))
		return nil
	})
	// Output:
	// kept: ordered
	// processed: paid
	// processed after a restart: ordered
}
