package cluster

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	zktest "metaq/test/zk"
)

// What docs/protocol.md says of who answers what, seen by a client of one broker.
func TestWhoAnswersWhatInACluster(t *testing.T) {
	w := &world{t: t, zk: zktest.Start(t, 1), root: "/meta"}
	for id := range 2 {
		w.add(w.start(id, map[string]string{"auto-create-topics": "false"}))
	}
	w.create("t", 2)
	nc := w.nats(1)
	for _, c := range []struct{ subject, body, answer string }{
		{"metaq.put.t.0-0", "x", `"partition":"0-0"`}, // the leader is not the broker that we are connected to
		{"metaq.put.t.1-0", "x", `"partition":"1-0"`},
		{"metaq.get.t.0-0", "{}", `"data":"x"`},
		{"metaq.offsets.t.0-0", "{}", `"end_offset":1`},
		{"metaq.put.t", "x", `"offset":`},
		{"metaq.put.nothing", "x", `"err_code":10059`},
		{"metaq.put.t.0-7", "x", ""},
		{"metaq.put.nothing.0-0", "x", ""},
		{"metaq.get.t.7-0", "{}", ""},
		{"metaq.group.nobody.info", "{}", `"err_code":20012`},
		{"metaq.node.0.anything", "{}", `"err_code":20022`},
		{"metaq.node.1.anything", "{}", `"err_code":20022`},
	} {
		m, err := nc.Request(c.subject, []byte(c.body), patience)
		switch {
		case c.answer == "" && !errors.Is(err, nats.ErrNoResponders):
			t.Errorf("%s: want no responders, got %v, %v", c.subject, m, err)
		case c.answer != "" && err != nil:
			t.Errorf("%s: %v", c.subject, err)
		case c.answer != "" && !strings.Contains(string(m.Data), c.answer):
			t.Errorf("%s: want %s, got %s", c.subject, c.answer, m.Data)
		}
	}

	// Everybody who reads the registry finds the addresses.
	var b struct{ NATS string }
	node := w.tree()["/meta/nats/brokers/0"]
	if err := json.Unmarshal([]byte(node), &b); err != nil || b.NATS != w.brokers[0].URL {
		t.Errorf("/meta/nats/brokers/0 is %s (%v), not with %s", node, err, w.brokers[0].URL)
	}
}
