package main

import (
	"fmt"
	"slices"
)

// Kinds of load. What each does stands at its function.
const (
	kindProduce = "produce" // as many messages as are acknowledged
	kindConsume = "consume" // read a stored backlog, whole passes
	kindFlow    = "flow"    // produce at a fixed rate and consume at once
	kindSync    = "sync"    // one message in flight
	kindStall   = "stall"   // produce while a consumer asks and does not read
)

// Clients that a load may use.
const (
	clientNATS   = "nats"   // an ordinary NATS client: one message, one reply
	clientNative = "native" // the system's own best client
)

// row is one line of the plan: a load that several systems are put under.
type row struct {
	Name        string `json:"name"`
	Title       string `json:"title"`
	Kind        string `json:"kind"`
	Client      string `json:"client"`
	Size        int    `json:"size"`                  // bytes of a payload
	Window      int    `json:"window,omitempty"`      // messages in flight of all connections; 0: the client's own limit
	Partitions  int    `json:"partitions"`            // of our topic; streams of a peer without partitions
	Connections int    `json:"connections"`           // that produce
	Compression string `json:"compression,omitempty"` // by the producer; where a system has it
	Rate        int    `json:"rate,omitempty"`        // messages a second of kindFlow
	Backlog     int    `json:"backlog,omitempty"`     // messages of kindConsume

	systems []string
}

// metric says what number of a measurement stands for the row.
func (r *row) metric() metric {
	switch r.Kind {
	case kindFlow:
		return metric{"p99", "ms", true}
	case kindSync:
		return metric{"p50", "ms", true}
	case kindStall:
		return metric{"peak RSS", "MiB", true}
	}
	return metric{"rate", "msg/s", false}
}

// metric is a number's name and unit, and whether less of it is better.
type metric struct {
	name, unit string
	less       bool
}

// quickRows are those of a quick run that names none: one of each kind.
const quickRows = "^(put-128|native-128|native-1024|native-1024-zstd|native-128-p8|consume-128|flow-128|sync-128|stall-1024)$"

// Names of systems.
const (
	sysMetaq    = "metaq"
	sysRelaxed  = "metaq-relaxed"
	sysJS       = "jetstream"
	sysJSFast   = "jetstream-batch"
	sysJSAlways = "jetstream-always"
	sysNATS     = "nats"
	sysDisk     = "disk"
)

// plan is all rows, in the order of the report.
func plan() []row {
	brokers := []string{sysMetaq, sysRelaxed, sysJS, sysJSAlways}
	with := func(more ...string) []string { return append(slices.Clone(brokers), more...) }
	kafka := []string{sysKafka, sysKafkaSync}
	var rows []row
	add := func(r row, systems []string) {
		r.Partitions, r.Connections = max(1, r.Partitions), max(1, r.Connections)
		r.systems = systems
		rows = append(rows, r)
	}
	for _, size := range []int{128, 1024} {
		add(row{
			Name: fmt.Sprintf("put-%d", size), Kind: kindProduce, Client: clientNATS, Size: size, Window: 1000,
			Title: fmt.Sprintf("Single messages from an ordinary NATS client, %s, window 1,000", sizeText(size)),
		}, with(sysNATS))
	}
	add(row{
		Name: "put-128-c16", Kind: kindProduce, Client: clientNATS, Size: 128, Window: 1000, Connections: 16,
		Title: "Single messages, 128 B, from 16 connections, window 1,000 of all together",
	}, with())
	for _, size := range []int{128, 1024, 16384} {
		add(row{
			Name: fmt.Sprintf("native-%d", size), Kind: kindProduce, Client: clientNative, Size: size,
			Title: fmt.Sprintf("Native producer, %s", sizeText(size)),
		}, append(with(sysJSFast, sysNATS, sysDisk), kafka...))
	}
	for _, size := range []int{128, 1024, 16384} {
		add(row{
			Name: fmt.Sprintf("native-%d-zstd", size), Kind: kindProduce, Client: clientNative, Size: size, Compression: "zstd",
			Title: fmt.Sprintf("Native producer, %s, zstd (JetStream: the stream's own s2, since its producers do not pack)", sizeText(size)),
		}, []string{sysMetaq, sysRelaxed, sysJS})
	}
	for _, n := range []int{8, 40} {
		add(row{
			Name: fmt.Sprintf("native-128-p%d", n), Kind: kindProduce, Client: clientNative, Size: 128, Partitions: n,
			Title: fmt.Sprintf("Native producer, 128 B, %d partitions (JetStream: %d streams)", n, n),
		}, with())
	}
	add(row{
		Name: "native-128-c16", Kind: kindProduce, Client: clientNative, Size: 128, Connections: 16,
		Title: "Native producer, 128 B, 16 connections",
	}, with())
	for _, c := range []struct{ size, backlog int }{{128, 1_000_000}, {1024, 300_000}} {
		add(row{
			Name: fmt.Sprintf("consume-%d", c.size), Kind: kindConsume, Client: clientNative, Size: c.size, Backlog: c.backlog,
			Title: fmt.Sprintf("Consume a stored backlog, %s, in whole passes", sizeText(c.size)),
		}, []string{sysMetaq, sysJS, sysKafka})
	}
	add(row{
		Name: "flow-128", Kind: kindFlow, Client: clientNative, Size: 128, Rate: 50_000,
		Title: "End to end, 50,000 msg/s of 128 B, from the moment a message is due to its delivery",
	}, with(sysNATS))
	add(row{
		Name: "sync-128", Kind: kindSync, Client: clientNATS, Size: 128,
		Title: "One message in flight, 128 B, ordinary NATS client",
	}, with(sysNATS, sysDisk))
	add(row{
		Name: "sync-native-128", Kind: kindSync, Client: clientNative, Size: 128,
		Title: "One message in flight, 128 B, native producer (JetStream: its own client's Publish)",
	}, with(sysDisk))
	add(row{
		Name: "stall-1024", Kind: kindStall, Client: clientNative, Size: 1024, Connections: 4,
		Title: "Memory of the server: 4 producers at full speed, 1 KiB, while a consumer asks and does not read",
	}, []string{sysMetaq, sysRelaxed, sysJS})
	return rows
}
