package broker

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"metaq/protocol"
)

func TestPutAndGet(t *testing.T) {
	b := start(t, options{})
	for i, v := range []string{"one", "two", "three"} {
		ack := b.put("metaq.put.orders", "k", v)
		want := protocol.NewPubAck("orders", ack.Partition, protocol.Offset(i), 0)
		if d := cmp.Diff(want, ack); d != "" {
			t.Error(d)
		}
	}
	p := b.put("metaq.put.orders", "k", "four").Partition
	if n := protocol.PartitionOf([]byte("k"), 4); p.N != n {
		t.Errorf("key k is in partition %s, want number %d", p, n)
	}
	if d := cmp.Diff([]string{"one", "two", "three", "four"}, values(b.all("orders", p.String()))); d != "" {
		t.Error(d)
	}
}

func TestAMessageComesBackAsItWasPut(t *testing.T) {
	b := start(t, options{})
	b.create("t", 1)
	before := time.Now().Truncate(time.Millisecond)
	token := b.request("metaq.put.t.0-0", nats.Header{"Metaq-Key": {"k"}, "Trace": {"a", "b"}, "metaq-key": {"lower case is another header"}}, []byte("text"))
	b.ack(token)
	b.ack(b.request("metaq.put.t", nats.Header{"Metaq-Key": {"\xff"}}, []byte{0, 0xff}))
	b.ack(b.request("metaq.put.t", nil, nil))
	b.ack(b.request("metaq.put.t", nats.Header{"Latin": {"caf\xe9", "tea"}, "Plain": {"p"}}, nil))
	list := b.all("t", "0-0")
	for i := range list {
		if list[i].Time.Before(before) || list[i].Time.After(time.Now()) {
			t.Errorf("time %s is not now", list[i].Time)
		}
		list[i].Time = time.Time{}
	}
	got, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"offset":0,"time":"0001-01-01T00:00:00Z","key":"k","headers":{"Trace":["a","b"],"metaq-key":["lower case is another header"]},"data":"text"},` +
		`{"offset":1,"time":"0001-01-01T00:00:00Z","key_base64":"/w==","data_base64":"AP8="},` +
		`{"offset":2,"time":"0001-01-01T00:00:00Z","data":""},` +
		`{"offset":3,"time":"0001-01-01T00:00:00Z","headers":{"Plain":["p"]},"headers_base64":{"Latin":["Y2Fm6Q==","dGVh"]},"data":""}]`
	if d := cmp.Diff(want, string(got)); d != "" {
		t.Error(d)
	}
}

func TestAGetInPieces(t *testing.T) {
	b := start(t, options{})
	b.create("t", 1)
	var want []string
	for i := range 25 {
		want = append(want, fmt.Sprint("message ", i))
		b.put("metaq.put.t", "", want[i])
	}
	var got []string
	for next := protocol.Offset(0); next < 25; {
		var r protocol.GetReply
		b.askJSON("metaq.get.t.0-0", fmt.Sprintf(`{"offset":%d,"max_messages":10}`, next), &r)
		if len(r.Messages) == 0 || len(r.Messages) > 10 || r.Messages[0].Offset != next || r.EndOffset != 25 || r.LogStart != 0 {
			t.Fatalf("from %d: %+v", next, r)
		}
		got, next = append(got, values(r.Messages)...), r.NextOffset
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestALongPollIsWokenByAPut(t *testing.T) {
	b := start(t, options{})
	b.create("t", 1)
	waiting := b.request("metaq.get.t.0-0", nil, []byte(`{"offset":0,"wait_ms":20000}`))
	b.ask("metaq.get.t.0-0", nil, []byte(`{"offset":0}`)) // the one before waits by now
	began := time.Now()
	b.put("metaq.put.t", "", "at last")
	var r protocol.GetReply
	if err := json.Unmarshal(b.wait(waiting).Data, &r); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"at last"}, values(r.Messages)); d != "" || time.Since(began) > 10*time.Second {
		t.Errorf("after %s: %s", time.Since(began), d)
	}
	b.askJSON("metaq.get.t.0-0", `{"offset":1,"wait_ms":10}`, &r)
	if len(r.Messages) != 0 || r.NextOffset != 1 {
		t.Errorf("a poll that ends: %+v", r)
	}
}

func TestABatch(t *testing.T) {
	b := start(t, options{})
	b.create("t", 2)
	batch := encode(t, protocol.CompressionZstd, "a", "b", "c")
	ack := b.ack(b.request("metaq.batch.t.0-1", nil, batch))
	if want := protocol.NewPubAck("t", protocol.PartitionID{N: 1}, 0, 3); ack != want {
		t.Errorf("%+v, want %+v", ack, want)
	}
	b.put("metaq.put.t.0-1", "", "d")
	if d := cmp.Diff([]string{"a", "b", "c", "d"}, values(b.all("t", "0-1"))); d != "" {
		t.Error(d)
	}
	answer := b.ask("metaq.get.t.0-1", nil, []byte(`{"offset":2,"format":"batch"}`))
	h, rest, err := protocol.ParseFetch(answer)
	if err != nil || h.LogStart != 0 || h.EndOffset != 4 {
		t.Fatalf("%+v %v in %q", h, err, answer)
	}
	var got []string
	for len(rest) > 0 {
		head, err := protocol.CheckBatch(rest, 0)
		if err != nil {
			t.Fatal(err)
		}
		for r, err := range protocol.DecodeRecords(&head, rest) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprint(r.Offset, " ", string(r.Value)))
		}
		rest = rest[head.Length:]
	}
	if d := cmp.Diff([]string{"0 a", "1 b", "2 c", "3 d"}, got); d != "" { // whole batches: 0 and 1 are for the client to skip
		t.Error(d)
	}
}

// encode returns a batch of messages.
func encode(t testing.TB, c protocol.Compression, list ...string) []byte {
	t.Helper()
	records := make([]protocol.Record, len(list))
	for i, v := range list {
		records[i] = protocol.Record{Time: 1000, Value: []byte(v)}
	}
	return encodeRecords(t, c, records...)
}

func encodeRecords(t testing.TB, c protocol.Compression, list ...protocol.Record) []byte {
	t.Helper()
	var bb protocol.BatchBuilder
	for i := range list {
		if err := bb.Add(&list[i]); err != nil {
			t.Fatal(err)
		}
	}
	return append([]byte(nil), bb.Encode(c, protocol.Producer{ID: protocol.NoProducer})...)
}

func TestOffsets(t *testing.T) {
	b := start(t, options{})
	b.create("t", 1)
	var r protocol.OffsetsReply
	b.askJSON("metaq.offsets.t.0-0", "", &r)
	if r.EndOffset != 0 || r.LogStart != 0 || r.Offset != 0 {
		t.Errorf("of an empty partition: %+v", r)
	}
	for range 3 {
		b.put("metaq.put.t", "", "x")
	}
	second := b.all("t", "0-0")[1]
	for _, tc := range []struct {
		body string
		want protocol.Offset
	}{
		{`{}`, 3},
		{`{"time":"2000-01-02T15:04:05Z"}`, 0},
		{`{"time":"2999-01-02T15:04:05Z"}`, 3},
	} {
		b.askJSON("metaq.offsets.t.0-0", tc.body, &r)
		if want := (protocol.OffsetsReply{EndOffset: 3, Offset: tc.want}); !reflect.DeepEqual(r, want) {
			t.Errorf("%s: %+v, want %+v", tc.body, r, want)
		}
	}
	b.askJSON("metaq.offsets.t.0-0", fmt.Sprintf(`{"time":%q}`, second.Time.Format(time.RFC3339Nano)), &r)
	if r.Offset > 1 {
		t.Errorf("the first message at %s or later is at %d, not before 1", second.Time, r.Offset)
	}
}

func TestTopicAdministration(t *testing.T) {
	b := start(t, options{})
	var info protocol.TopicInfo
	b.askJSON("metaq.admin.topic.create", `{"topic":"a","partitions":2,"config":{"retention_bytes":1000000}}`, &info)
	if len(info.Partitions) != 2 || info.Partitions[1].Partition != (protocol.PartitionID{N: 1}) || *info.Config.RetentionBytes != 1000000 {
		t.Errorf("%+v", info)
	}
	b.put("metaq.put.a.0-1", "", "x")
	b.askJSON("metaq.admin.topic.set", `{"topic":"a","partitions":3}`, &info)
	if len(info.Partitions) != 3 {
		t.Errorf("%+v", info)
	}
	b.askJSON("metaq.admin.topic.info", `{"topic":"a"}`, &info)
	if p := info.Partitions[1]; p.EndOffset != 1 || p.Leader != 0 || p.Epoch < 1 || p.Bytes == 0 {
		t.Errorf("%+v", p)
	}
	b.askJSON("metaq.admin.topic.set", `{"topic":"a","config":{"accept_publish":false}}`, &info)
	b.refused(403, "metaq.put.a", "x")
	var list protocol.TopicList
	b.askJSON("metaq.admin.topic.ls", "", &list)
	if len(list.Topics) != 1 || list.Topics[0].Topic != "a" || list.Topics[0].Partitions != 3 || list.Topics[0].Messages != 1 {
		t.Errorf("%+v", list)
	}
	var done protocol.Done
	b.askJSON("metaq.admin.topic.delete", `{"topic":"a"}`, &done)
	b.askJSON("metaq.admin.topic.ls", "", &list)
	if !done.OK || len(list.Topics) != 0 {
		t.Errorf("%+v %+v", done, list)
	}
	b.create("a", 1)
	if got := b.all("a", "0-0"); len(got) != 0 {
		t.Errorf("a topic that was deleted and made again holds %v", values(got))
	}
}

func TestBrokerAndClusterInfo(t *testing.T) {
	b := start(t, options{flags: map[string]string{"broker-id": "7"}})
	var info protocol.BrokerInfo
	b.askJSON("metaq.admin.broker.info", "", &info)
	if info.BrokerID != 7 || info.NATS != b.URL() || info.Registry != "local" || !info.Ready || info.Version != "0.0.1-test" ||
		info.MaxPayload != 8<<20 || info.MaxMessage != 1<<20 || time.Since(info.Started) > time.Minute {
		t.Errorf("%+v", info)
	}
	var cluster protocol.ClusterInfo
	b.askJSON("metaq.admin.cluster.info", "", &cluster)
	if len(cluster.Brokers) != 1 || cluster.Brokers[0].BrokerID != 7 || len(cluster.Failed)+len(cluster.Leaderless) != 0 {
		t.Errorf("%+v", cluster)
	}
}

// TestAJetStreamPublisherWorks uses the official library as its users do.
func TestAJetStreamPublisherWorks(t *testing.T) {
	b := start(t, options{})
	js, err := jetstream.New(b.nc)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		ack, err := js.Publish(t.Context(), "metaq.put.orders.0-2", []byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		if ack.Stream != "orders-0-2" || ack.Sequence != uint64(i+1) {
			t.Errorf("%+v", ack)
		}
	}
	if _, err = js.Publish(t.Context(), "metaq.put.orders", []byte("x"), jetstream.WithMsgTTL(time.Hour)); err == nil || !strings.Contains(err.Error(), "10166") {
		t.Errorf("a header that is not supported: %v", err)
	}
}
