package discovery_test

import (
	"context"
	"log"
	"log/slog"

	"metaq/client"
	"metaq/client/discovery"
)

// A client of a cluster names the cluster's ZooKeeper servers instead of its brokers. It
// asks them once; brokers that come later are announced by NATS.
func ExampleResolver() {
	resolver, err := discovery.Resolver(discovery.Options{
		Connect: "zk1:2181,zk2:2181,zk3:2181",
		Root:    "/meta", // the zk.zkRoot of the brokers
		Log:     slog.Default(),
	})
	if err != nil {
		log.Fatal(err)
	}
	c, err := client.Connect(context.Background(), client.WithResolver(resolver))
	if err != nil {
		log.Fatal(err) // names each server that was tried, and what was wrong with it
	}
	defer c.Close()
}
