package interop

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"metaq/protocol"
	"metaq/test/process"
)

const patience = 60 * time.Second

func TestMain(m *testing.M) { process.Main(m) }

func connect(t testing.TB, url string, opts ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// ask sends a control request and reads its answer into out.
func ask(t testing.TB, nc *nats.Conn, subject, body string, out any) {
	t.Helper()
	m, err := nc.Request(subject, []byte(body), patience)
	if err != nil {
		t.Fatalf("%s: %v", subject, err)
	}
	if err := protocol.DecodeError(m.Data); err != nil {
		t.Fatalf("%s %s: %v", subject, body, err)
	}
	if err := json.Unmarshal(m.Data, out); err != nil {
		t.Fatalf("%s: %v in %s", subject, err, m.Data)
	}
}

func create(t testing.TB, nc *nats.Conn, topic string, partitions int, config string) {
	t.Helper()
	var info protocol.TopicInfo
	ask(t, nc, "metaq.admin.topic.create", fmt.Sprintf(`{"topic":%q,"partitions":%d,"config":{%s}}`, topic, partitions, config), &info)
}

// stored gets every message of a topic with the plain get, by partition.
func stored(t testing.TB, nc *nats.Conn, topic string) map[protocol.PartitionID][]protocol.Message {
	t.Helper()
	var info protocol.TopicInfo
	ask(t, nc, "metaq.admin.topic.info", fmt.Sprintf(`{"topic":%q}`, topic), &info)
	all := map[protocol.PartitionID][]protocol.Message{}
	for _, p := range info.Partitions {
		for next := protocol.Offset(0); next < p.EndOffset; {
			var r protocol.GetReply
			ask(t, nc, fmt.Sprintf("metaq.get.%s.%s", topic, p.Partition), fmt.Sprintf(`{"offset":%d}`, next), &r)
			all[p.Partition] = append(all[p.Partition], r.Messages...)
			next = r.NextOffset
		}
	}
	return all
}

// values are all payloads of a topic, those of one partition in their order.
func values(t testing.TB, nc *nats.Conn, topic string) []string {
	t.Helper()
	var out []string
	for _, list := range stored(t, nc, topic) {
		for _, m := range list {
			out = append(out, *m.Data)
		}
	}
	return out
}

// errCode is JetStream's number of an error that a library returned, or 0.
func errCode(err error) int {
	var modern *jetstream.APIError
	var old *nats.APIError
	switch {
	case errors.As(err, &modern):
		return int(modern.ErrorCode)
	case errors.As(err, &old):
		return int(old.ErrorCode)
	}
	return 0
}
