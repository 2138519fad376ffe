//go:build linux && !race

package interop

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"metaq/protocol"
	"metaq/test/process"
)

// memory reads a value of /proc/PID/status in bytes.
func memory(t testing.TB, pid int, field string) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, found := strings.CutPrefix(line, field+":"); found {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kib << 10
		}
	}
	t.Fatalf("process %d tells no %s", pid, field)
	return 0
}

// A flood of more than a gigabyte from 50 connections that never wait: every put is answered, no acknowledged one is lost, and the broker's
// process stays within its memoryLimit and the code and buffers that do not count
// in it.
func TestAFloodStaysWithinMemory(t *testing.T) {
	const (
		connections, each, size = 50, 12000, 2 << 10
		window                  = each
		inflight                = 16 << 20
		limit                   = 256 << 20
		bound                   = limit + 64<<20
	)
	b := process.Start(t, map[string]string{
		"max-inflight-bytes": fmt.Sprint(inflight), "max-partition-inflight-bytes": fmt.Sprint(inflight / 2),
		"memory-limit": fmt.Sprint(limit),
	})
	nc := connect(t, b.URL)
	create(t, nc, "t", 4, "")
	payload := make([]byte, size)
	var mu sync.Mutex // guards answers
	answers := map[string]int{}
	var work sync.WaitGroup
	for range connections {
		work.Go(func() {
			own, err := flood(b.URL, each, payload)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			for what, n := range own {
				answers[what] += n
			}
		})
	}
	work.Wait()
	peak := memory(t, b.Pid(), "VmHWM")
	t.Logf("%d MiB were sent; answers %v; the broker took at most %d MiB, the bound is %d MiB",
		connections*each*size>>20, answers, peak>>20, bound>>20)
	if answers["stored"]+answers["busy"] != connections*each {
		t.Errorf("%d puts were answered with %v", connections*each, answers)
	}
	if peak > bound {
		t.Errorf("the broker took %d bytes, the bound is %d", peak, bound)
	}
	var list protocol.TopicList
	ask(t, nc, "metaq.admin.topic.ls", "", &list)
	if got := list.Topics[0].Messages; got != int64(answers["stored"]) {
		t.Errorf("%d were acknowledged, %d are stored", answers["stored"], got)
	}
}

// flood puts n messages without waiting and counts the answers.
func flood(url string, n int, payload []byte) (map[string]int, error) {
	counts := map[string]int{}
	nc, err := nats.Connect(url)
	if err != nil {
		return counts, err
	}
	defer nc.Close()
	inbox, answers := nats.NewInbox(), make(chan *nats.Msg, 2*n)
	if _, err := nc.ChanSubscribe(inbox+".*", answers); err != nil {
		return counts, err
	}
	timeout := time.After(patience)
	for i := range n {
		if err := nc.PublishRequest("metaq.put.t", inbox+"."+strconv.Itoa(i), payload); err != nil {
			return counts, err
		}
	}
	for got := range n {
		select {
		case m := <-answers:
			switch err := protocol.DecodeError(m.Data); {
			case len(m.Data) == 0:
				counts["no responders"]++
			case err == nil:
				counts["stored"]++
			case protocol.AsError(err).Code == 429:
				counts["busy"]++
			default:
				counts[err.Error()]++
			}
		case <-timeout:
			return counts, fmt.Errorf("%d of %d puts had no answer", n-got, n)
		}
	}
	return counts, nil
}
