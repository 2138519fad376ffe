// Package client is the public Go client of MetaQ: Producer, Reader, Consumer and
// Admin over one NATS connection.
//
//	c, err := client.Connect(ctx, client.WithServers("nats://127.0.0.1:4222"))
//	p, err := c.NewProducer()
//	res, err := p.Send(ctx, client.Record{Topic: "orders", Key: key, Value: value})
//	r, err := c.NewReader(ctx, "orders", client.StartAt(client.Earliest()))
//	rec, err := r.Next(ctx)
//	g, err := c.NewConsumer(ctx, "billing", []string{"orders"}, handle)
//
// It owns batching, partitioning, retries and prefetching. It never decides what
// is stored: a record counts as stored when its Result says so.
//
// Goroutines: a Client has one that watches its connection. A Producer has one that
// refreshes topics, and one for each partition with records to send. A Reader has one for
// each partition that it reads, and one that looks for new partitions. A Consumer has one
// that sends heartbeats, one for a commit in flight, one with a Reader for each partition
// that it processes, and one for the records that it keeps. Each ends, and is joined, in
// the Close of its owner. Close producers and readers before their Client.
//
// The machinery is in internal: link makes the requests, produce batches and numbers
// records, fetch reads ahead, group keeps a consumer in its group. Start at
// Producer.SendAsync (producer.go), then produce.Engine; for reading at Reader.Next
// (reader.go), then fetch.Feeds; for groups at Client.NewConsumer (consumer.go), then
// group.Membership. What a Consumer keeps over a restart of the process goes to a
// MessageDir: see package messagedir. Programs that use this package are tested with a
// broker of package clienttest.
package client
