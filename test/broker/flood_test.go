package broker

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"

	"metaq/protocol"
)

// TestAFloodIsAnswered sends from many connections, without ever waiting, much
// more than the broker may hold. Every put must get one answer: stored, or busy.
// What was acknowledged is there, and nothing was dropped.
func TestAFloodIsAnswered(t *testing.T) {
	const connections, each, size = 50, 4000, 2 << 10
	b := start(t, options{flags: map[string]string{
		"metrics": "127.0.0.1:0", "max-inflight-bytes": "8MiB", "max-partition-inflight-bytes": "4MiB",
	}})
	b.create("t", 4)
	payload := []byte(strings.Repeat("x", size))
	counts := make([]map[string]int, connections)
	var wg sync.WaitGroup
	for i := range connections {
		wg.Go(func() { counts[i] = flood(t, b.URL(), each, payload) })
	}
	wg.Wait()
	total := map[string]int{}
	for _, c := range counts {
		for what, n := range c {
			total[what] += n
		}
	}
	t.Logf("answers: %v", total)
	if total["stored"]+total["busy"] != connections*each {
		t.Errorf("%d puts were answered with %v", connections*each, total)
	}
	var list protocol.TopicList
	b.askJSON("metaq.admin.topic.ls", "", &list)
	if got := list.Topics[0].Messages; got != int64(total["stored"]) {
		t.Errorf("%d were acknowledged, %d are stored", total["stored"], got)
	}
	for _, line := range strings.Split(b.http(t, "/metrics"), "\n") {
		if strings.HasPrefix(line, "metaq_gateway_dropped_total") && line != "metaq_gateway_dropped_total 0" ||
			strings.HasPrefix(line, "metaq_gateway_reconnects_total") && line != "metaq_gateway_reconnects_total 0" {
			t.Error(line)
		}
	}
}

// flood puts n messages as fast as it can and counts the answers by kind.
func flood(t *testing.T, url string, n int, payload []byte) map[string]int {
	t.Helper()
	counts := map[string]int{}
	nc, err := nats.Connect(url)
	if err != nil {
		t.Error(err)
		return counts
	}
	defer nc.Close()
	inbox, answers := nats.NewInbox(), make(chan *nats.Msg, n*2)
	if _, err := nc.ChanSubscribe(inbox+".*", answers); err != nil {
		t.Error(err)
		return counts
	}
	for i := range n {
		if err := nc.PublishRequest("metaq.put.t", inbox+"."+fmt.Sprint(i), payload); err != nil {
			t.Error(err)
			return counts
		}
	}
	seen := make(map[string]bool, n)
	for len(seen) < n {
		m, ok := next(answers)
		if !ok {
			t.Errorf("%d of %d puts had no answer", n-len(seen), n)
			return counts
		}
		if seen[m.Subject] {
			t.Errorf("two answers to %s", m.Subject)
		}
		seen[m.Subject] = true
		switch err := protocol.DecodeError(m.Data); {
		case len(m.Data) == 0:
			counts["no responders"]++
		case err == nil:
			counts["stored"]++
		case errors.Is(err, protocol.ErrBusy):
			counts["busy"]++
		default:
			counts[err.Error()]++
		}
	}
	return counts
}
