//go:build unix

package broker

import (
	"bytes"
	"log/slog"
	"net"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"metaq/configs"
	"metaq/protocol"
	"metaq/transport"
)

// BenchmarkPut puts messages of 128 bytes through a whole broker to one partition,
// 1,000 in flight on one connection, each acknowledged after its fdatasync.
// Allocations and processor time are those of the broker and of the publisher
// together.
func BenchmarkPut(b *testing.B) {
	cfg, err := configs.Load(configs.LoadOptions{Flags: map[string]string{"data": b.TempDir(), "nats-port": "0"}})
	if err != nil {
		b.Fatal(err)
	}
	broker, err := Start(b.Context(), cfg, Options{Version: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := broker.Stop(b.Context()); err != nil {
			b.Error(err)
		}
	}()
	nc, err := nats.Connect(broker.URL())
	if err != nil {
		b.Fatal(err)
	}
	defer nc.Close()
	if _, err := nc.Request("metaq.admin.topic.create", []byte(`{"topic":"t","partitions":1}`), time.Second); err != nil {
		b.Fatal(err)
	}
	put(b, broker.URL())
}

// BenchmarkEcho is what BenchmarkPut costs when nothing is stored: the same
// publisher and the same server, and a subscriber in the server's process that
// answers each message at once. It is the ceiling of any queue that is a client of
// the NATS server.
func BenchmarkEcho(b *testing.B) {
	s, err := transport.StartServer(transport.ServerOptions{Host: "127.0.0.1", Subjects: protocol.Subjects{Prefix: "other"}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Stop()
	nc, err := s.Connect(func(c net.Conn) net.Conn { return c })
	if err != nil {
		b.Fatal(err)
	}
	defer nc.Close()
	stored := protocol.PubAck{Stream: "t-0-0", Seq: 123456, Topic: "t", Offset: 123455}
	ack := stored.Append(nil)
	answer := func(m *nats.Msg) {
		if err := nc.Publish(m.Reply, ack); err != nil {
			b.Error(err)
		}
	}
	if _, err := nc.Subscribe("metaq.put.>", answer); err != nil {
		b.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		b.Fatal(err)
	}
	put(b, "nats://"+s.Addr().String())
}

// put puts b.N messages to topic t of the broker at url.
func put(b *testing.B, url string) {
	const window = 1000
	nc, err := nats.Connect(url)
	if err != nil {
		b.Fatal(err)
	}
	defer nc.Close()
	places, inbox := make(chan struct{}, window), nats.NewInbox()
	if _, err := nc.Subscribe(inbox+".*", func(m *nats.Msg) {
		if !bytes.HasPrefix(m.Data, []byte(`{"stream"`)) { // to decode it would cost more than the rest
			b.Error(string(m.Data))
		}
		<-places
	}); err != nil {
		b.Fatal(err)
	}
	payload := make([]byte, 128)
	before := processorTime(b)
	b.SetBytes(int64(len(payload)))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		places <- struct{}{}
		if err := nc.PublishRequest("metaq.put.t", inbox+"."+strconv.Itoa(i), payload); err != nil {
			b.Fatal(err)
		}
	}
	for range window { // all are answered
		places <- struct{}{}
	}
	b.ReportMetric(float64(processorTime(b)-before)/float64(b.N), "cpu-ns/op")
}

// processorTime is what this process has used, which a busy machine changes less
// than the time on the clock.
func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
