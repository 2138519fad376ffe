package main

import (
	"fmt"
	"slices"
	"time"
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

	systems []string // that take part
	more    []string // that take part when they are named
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

// inJava are the peers that come with a virtual machine to start.
var inJava = []string{sysKafka, sysKafkaSync, sysRocket, sysRocketSync, sysMetaqJava, sysMetaqJavaSync}

// plan is all rows, in the order of the report. Systems that no goal and no claim
// needs in a row take part in it only when they are named: so that a whole run takes
// about an hour.
func plan() []row {
	var rows []row
	add := func(r row, systems, more []string) {
		r.Partitions, r.Connections = max(1, r.Partitions), max(1, r.Connections)
		r.systems, r.more = systems, more
		rows = append(rows, r)
	}
	two := []string{sysMetaq, sysJS}
	add(row{
		Name: "put-128", Kind: kindProduce, Client: clientNATS, Size: 128, Window: 1000,
		Title: "Single messages from an ordinary NATS client, 128 B, window 1,000",
	}, []string{sysMetaq, sysRelaxed, sysJS, sysJSAlways, sysNATS}, nil)
	add(row{
		Name: "put-1024", Kind: kindProduce, Client: clientNATS, Size: 1024, Window: 1000,
		Title: "Single messages from an ordinary NATS client, 1 KiB, window 1,000",
	}, []string{sysMetaq, sysJS, sysJSAlways}, []string{sysRelaxed, sysNATS})
	add(row{
		Name: "put-128-c16", Kind: kindProduce, Client: clientNATS, Size: 128, Window: 1000, Connections: 16,
		Title: "Single messages, 128 B, from 16 connections, window 1,000 of all together",
	}, two, []string{sysRelaxed, sysJSAlways})
	for _, n := range []struct {
		size          int
		systems, more []string
	}{
		{128, []string{sysMetaq, sysRelaxed, sysJS, sysJSFast, sysJSAlways, sysNATS, sysDisk}, nil},
		{1024, []string{sysMetaq, sysRelaxed, sysJS, sysJSFast, sysDisk}, []string{sysJSAlways, sysNATS}},
		{16384, []string{sysMetaq, sysJS, sysDisk}, []string{sysRelaxed, sysJSFast, sysJSAlways, sysNATS}},
	} {
		add(row{
			Name: fmt.Sprintf("native-%d", n.size), Kind: kindProduce, Client: clientNative, Size: n.size,
			Title: fmt.Sprintf("Native producer, %s", sizeText(n.size)),
		}, append(n.systems, inJava...), n.more)
	}
	for _, size := range []int{128, 1024, 16384} {
		add(row{
			Name: fmt.Sprintf("native-%d-zstd", size), Kind: kindProduce, Client: clientNative, Size: size, Compression: "zstd",
			Title: fmt.Sprintf("Native producer, %s, zstd (JetStream: the stream's own s2, since its producers do not pack)", sizeText(size)),
		}, two, []string{sysRelaxed})
	}
	for _, n := range []int{8, 40} {
		add(row{
			Name: fmt.Sprintf("native-128-p%d", n), Kind: kindProduce, Client: clientNative, Size: 128, Partitions: n,
			Title: fmt.Sprintf("Native producer, 128 B, %d partitions (JetStream: %d streams)", n, n),
		}, two, []string{sysRelaxed, sysJSAlways})
	}
	add(row{
		Name: "native-128-c16", Kind: kindProduce, Client: clientNative, Size: 128, Connections: 16,
		Title: "Native producer, 128 B, 16 connections",
	}, two, []string{sysRelaxed, sysJSAlways})
	for _, c := range []struct{ size, backlog int }{{128, 1_000_000}, {1024, 300_000}} {
		add(row{
			Name: fmt.Sprintf("consume-%d", c.size), Kind: kindConsume, Client: clientNative, Size: c.size, Backlog: c.backlog,
			Title: fmt.Sprintf("Consume a stored backlog, %s, in whole passes", sizeText(c.size)),
		}, []string{sysMetaq, sysJS, sysKafka, sysRocket, sysMetaqJava}, nil)
	}
	add(row{
		Name: "flow-128", Kind: kindFlow, Client: clientNative, Size: 128, Rate: 50_000,
		Title: "End to end, 50,000 msg/s of 128 B, from the moment a message is due to its delivery",
	}, []string{sysMetaq, sysJS, sysNATS}, []string{sysRelaxed, sysJSAlways})
	add(row{
		Name: "sync-128", Kind: kindSync, Client: clientNATS, Size: 128,
		Title: "One message in flight, 128 B, ordinary NATS client",
	}, []string{sysMetaq, sysJS, sysJSAlways, sysDisk}, []string{sysRelaxed, sysNATS})
	add(row{
		Name: "sync-native-128", Kind: kindSync, Client: clientNative, Size: 128,
		Title: "One message in flight, 128 B, native producer (JetStream: its own client's Publish)",
	}, two, []string{sysRelaxed, sysJSAlways, sysDisk})
	add(row{
		Name: "stall-1024", Kind: kindStall, Client: clientNative, Size: 1024, Connections: 4,
		Title: "Memory of the server: 4 producers at full speed, 1 KiB, while a consumer asks and does not read",
	}, two, []string{sysRelaxed})
	return rows
}

// takes is about how long one measurement of the row takes.
func (r *row) takes(o *options, system string) time.Duration {
	const (
		start   = 1500 * time.Millisecond // and stop of the servers, and what is asked of them
		machine = 10 * time.Second        // the same with virtual machines
		backlog = 10 * time.Second        // to store, and to try the ways to read it
	)
	t := start + o.warmup + o.duration
	if slices.Contains(inJava, system) {
		t += machine
	}
	if r.Kind == kindConsume && !o.quick {
		t += backlog
	}
	return t
}
