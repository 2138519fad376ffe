package broker

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"metaq/protocol"
)

// refused checks that the answer has a code, and returns its text.
func (c *client) refused(code int, subject, body string) string {
	c.t.Helper()
	answer := c.ask(subject, nil, []byte(body))
	var r protocol.ErrorReply
	if err := json.Unmarshal(answer, &r); err != nil || r.Error == nil {
		c.t.Fatalf("%s: %s is no refusal", subject, answer)
	}
	if r.Error.Code != code {
		c.t.Errorf("%s %.60q: code %d, want %d: %s", subject, body, r.Error.Code, code, answer)
	}
	if strings.Contains(r.Error.Description, "\n") || r.Error.Description == "" {
		c.t.Errorf("%s: not one line: %q", subject, r.Error.Description)
	}
	return string(answer)
}

// TestBadInput sends everything that is wrong; exactlyOnce at the end checks
// that each got one answer, and the last check that nothing of it was stored.
func TestBadInput(t *testing.T) {
	b := start(t, options{flags: map[string]string{"auto-create-topics": "false", "max-message-size": "1000"}})
	b.create("t", 2)
	good := string(encode(t, protocol.CompressionNone, "a", "b"))
	flip := func(at int) string {
		bad := []byte(good)
		bad[at] ^= 1
		return string(bad)
	}
	for _, tc := range []struct {
		name, subject, body string
		code                int
		text                string
	}{
		{"topic that does not exist", "metaq.put.nope", "x", 404, "nope"},
		{"partition that does not exist", "metaq.put.t.0-2", "x", 404, "0-2"},
		{"partition of another broker", "metaq.put.t.1-0", "x", 404, "1-0"},
		{"topic with a dot", "metaq.put.a.b", "x", 400, "dot"},
		{"topic *", "metaq.put.*", "x", 400, "not allowed"},
		{"topic >", "metaq.put.>", "x", 400, "not allowed"},
		{"topic of 129 characters", "metaq.put." + strings.Repeat("x", 129), "x", 400, "129"},
		{"message over the limit", "metaq.put.t", strings.Repeat("x", 1001), 413, "1001"},
		{"message over the limit in a batch", "metaq.batch.t.0-0", string(encode(t, protocol.CompressionZstd, strings.Repeat("x", 1001))), 413, "1001"},
		{"batch with a wrong CRC", "metaq.batch.t.0-0", flip(len(good) - 1), 400, "checksum"},
		{"batch with a wrong count", "metaq.batch.t.0-0", flip(71), 400, "section 9 of docs/protocol.md"},
		{"batch with a length beyond the message", "metaq.batch.t.0-0", flip(6), 400, "batch"},
		{"batch and a half", "metaq.batch.t.0-0", good + good[:40], 400, "40 bytes follow"},
		{"batch that is text", "metaq.batch.t.0-0", "hello", 400, "no batch"},
		{"get with JSON that is none", "metaq.get.t.0-0", "offset=1", 400, "JSON"},
		{"get with another type", "metaq.get.t.0-0", `{"offset":"1"}`, 400, "offset"},
		{"get beyond the end", "metaq.get.t.0-0", `{"offset":1}`, 416, `"end_offset":0`},
		{"get of a topic that does not exist", "metaq.get.nope.0-0", "", 404, "nope"},
		{"get of no partition", "metaq.get.t", "", 400, "partition"},
		{"offsets with JSON that is none", "metaq.offsets.t.0-0", "{", 400, "JSON"},
		{"offsets of a partition that does not exist", "metaq.offsets.t.0-5", "{}", 404, "0-5"},
		{"create with JSON that is none", "metaq.admin.topic.create", "x", 400, "JSON"},
		{"create an empty name", "metaq.admin.topic.create", `{"topic":""}`, 400, "empty"},
		{"create a.b", "metaq.admin.topic.create", `{"topic":"a.b"}`, 400, "a.b"},
		{"create *", "metaq.admin.topic.create", `{"topic":"*"}`, 400, "*"},
		{"create what exists", "metaq.admin.topic.create", `{"topic":"t"}`, 409, "exists"},
		{"create with too many partitions", "metaq.admin.topic.create", `{"topic":"u","partitions":10001}`, 400, "10001"},
		{"create with a bad policy", "metaq.admin.topic.create", `{"topic":"u","config":{"delete_policy":"shred,1"}}`, 400, "shred"},
		{"create with a bad schedule", "metaq.admin.topic.create", `{"topic":"u","config":{"delete_when":"daily"}}`, 400, "daily"},
		{"create with a bad size", "metaq.admin.topic.create", `{"topic":"u","config":{"max_segment_size":1}}`, 400, "max_segment_size is 1"},
		{"create with a bad interval", "metaq.admin.topic.create", `{"topic":"u","config":{"unflush_interval":0}}`, 400, "unflush_interval is 0"},
		{"create with a negative limit", "metaq.admin.topic.create", `{"topic":"u","config":{"retention_bytes":-1}}`, 400, "-1"},
		{"set with fewer partitions", "metaq.admin.topic.set", `{"topic":"t","partitions":1}`, 409, "2 partitions"},
		{"set of what does not exist", "metaq.admin.topic.set", `{"topic":"nope","partitions":1}`, 404, "nope"},
		{"info of what does not exist", "metaq.admin.topic.info", `{"topic":"nope"}`, 404, "nope"},
		{"delete what does not exist", "metaq.admin.topic.delete", `{"topic":"nope"}`, 404, "nope"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if answer := b.refused(tc.code, tc.subject, tc.body); !strings.Contains(answer, tc.text) {
				t.Errorf("%s does not say %q", answer, tc.text)
			}
		})
	}
	unsupported := []string{
		"Nats-Rollup", "Nats-TTL", "Nats-Marker-Reason", "Nats-Incr", "Nats-Counter-Sources", "Nats-Batch-Id", "Nats-Batch-Sequence", "Nats-Batch-Commit",
		"Nats-Schedule", "Nats-Schedule-TTL", "Nats-Schedule-Target", "Nats-Schedule-Source", "Nats-Schedule-Rollup", "Nats-Schedule-Time-Zone",
		"Nats-Schedule-Next", "Nats-Scheduler", "Nats-Stream-Source", "Nats-Expected-Last-Subject-Sequence", "Nats-Expected-Last-Subject-Sequence-Subject",
		// These want one partition, and the topic has two.
		"Nats-Expected-Stream", "Nats-Expected-Last-Sequence", "Nats-Expected-Last-Msg-Id",
	}
	for _, header := range unsupported {
		if answer := b.ask("metaq.put.t", nats.Header{header: {"1"}}, []byte("x")); !strings.Contains(string(answer), header) {
			t.Errorf("%s: %s", header, answer)
		}
	}
	// A batch says no to the same, and to what means something in a put only.
	for _, c := range []protocol.Compression{protocol.CompressionNone, protocol.CompressionZstd} {
		for _, header := range append(unsupported, "Nats-Msg-Id", "Metaq-Key") {
			answer := b.refused(400, "metaq.batch.t.0-0", string(encodeRecords(t, c, protocol.Record{
				Value: []byte("x"), Headers: []protocol.Header{{Name: header, Value: "1"}},
			})))
			if !strings.Contains(answer, header) {
				t.Errorf("%s: %s", header, answer)
			}
		}
	}
	// A reply subject of the broker's own: stored nowhere, and no answer becomes a request.
	for _, reply := range []string{"metaq.put.t", "metaq.put.t.0-1", "metaq.admin.topic.ls"} {
		if err := b.nc.PublishRequest("metaq.put.t.0-0", reply, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []string{"0-0", "0-1"} {
		if got := b.all("t", p); len(got) != 0 {
			t.Errorf("partition %s holds %v", p, values(got))
		}
	}
}

func TestAnOffsetOutsideTheLog(t *testing.T) {
	b := start(t, options{})
	b.create("t", 1)
	b.put("metaq.put.t", "", "x")
	for _, format := range []string{"json", "batch"} {
		answer := b.refused(416, "metaq.get.t.0-0", `{"offset":2,"format":"`+format+`"}`)
		if !strings.Contains(answer, `"log_start":0,"end_offset":1`) {
			t.Error(answer)
		}
	}
	var r protocol.GetReply
	b.askJSON("metaq.get.t.0-0", `{"offset":1}`, &r) // the end itself is fine
	if len(r.Messages) != 0 || r.NextOffset != 1 {
		t.Errorf("%+v", r)
	}
}

func TestTopicsThatListenOnlyOneWay(t *testing.T) {
	b := start(t, options{})
	b.create("t", 1)
	b.put("metaq.put.t", "", "x")
	b.ask("metaq.admin.topic.set", nil, []byte(`{"topic":"t","config":{"accept_publish":false,"accept_subscribe":false}}`))
	b.refused(403, "metaq.put.t", "x")
	b.refused(403, "metaq.put.t.0-0", "x")
	b.refused(403, "metaq.batch.t.0-0", string(encode(t, protocol.CompressionNone, "x")))
	b.refused(403, "metaq.get.t.0-0", "")
}
