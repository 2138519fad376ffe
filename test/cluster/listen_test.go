package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"metaq/client"
	"metaq/protocol"
)

// listen makes a topic that listens to filters, through a broker.
func listen(ctx context.Context, c *client.Client, topic string, filters ...string) error {
	_, err := c.Admin().CreateTopic(ctx, protocol.TopicCreate{
		Topic: topic, Partitions: 2, Config: protocol.TopicConfig{Subjects: &filters},
	})
	return err
}

// Publishers that know nothing of the brokers are connected to either of them, and each
// message is stored once, in one of all partitions.
func TestATopicOfTwoBrokersStoresWhatItHearsOnce(t *testing.T) {
	w := newWorld(t, 1, 0, 1)
	if err := listen(t.Context(), w.connect(0), "events", "events.>"); err != nil {
		t.Fatal(err)
	}
	w.whole("events", 4)
	const each = 500
	all := newLedger()
	for i := range w.brokers {
		nc := w.nats(i)
		for n := range each {
			payload := fmt.Sprintf("%d-%d", i, n)
			m := nats.NewMsg(fmt.Sprintf("events.%d.%s", i, strings.Repeat("x", n%3+1)))
			m.Data = []byte(payload)
			if n%2 == 0 {
				m.Header.Set(protocol.HeaderKey, fmt.Sprint("key", n%20))
			}
			if n%5 == 0 { // as most publishers do: without an answer
				if err := nc.PublishMsg(m); err != nil {
					t.Fatal(err)
				}
				all.ack(payload)
				continue
			}
			answer, err := nc.RequestMsg(m, 5*time.Second)
			if err == nil {
				err = protocol.DecodeError(answer.Data)
			}
			if err != nil {
				t.Fatalf("message %s: %v", payload, err)
			}
			all.ack(payload)
		}
	}
	w.eventually("all messages", patience, func(ctx context.Context) error {
		info, err := w.connect(0).Admin().TopicInfo(ctx, "events")
		if err != nil {
			return err
		}
		total, homes := int64(0), map[int]int64{}
		for _, p := range info.Partitions {
			total += int64(p.EndOffset)
			homes[p.Home] += int64(p.EndOffset)
		}
		if total > 2*each {
			t.Fatalf("%d messages are stored of %d", total, 2*each)
		}
		if total < 2*each {
			return fmt.Errorf("%d of %d", total, 2*each)
		}
		if homes[0] == 0 || homes[1] == 0 {
			t.Errorf("messages went to %v only", homes)
		}
		return nil
	})
	if got := w.readAll("events"); len(got) != 2*each {
		t.Errorf("%d different messages are there, not %d", len(got), 2*each)
	}
	w.judge("events", all)
}

// Two topics that would listen to the same subject are made through two brokers at once:
// one is refused, with the names of both.
func TestTwoBrokersMakeTopicsThatListenToTheSame(t *testing.T) {
	w := newWorld(t, 1, 0, 1)
	through := []*client.Client{w.connect(0), w.connect(1)}
	for n := range 10 {
		errs := make([]error, 2)
		done := make(chan int, 2)
		for i := range errs {
			go func() {
				errs[i] = listen(t.Context(), through[i], fmt.Sprintf("t%d-%d", n, i), fmt.Sprintf("orders%d.>", n))
				done <- i
			}()
		}
		<-done
		<-done
		refused := errors.Join(errs...)
		if (errs[0] == nil) == (errs[1] == nil) || !errors.Is(refused, protocol.ErrConflict) {
			t.Fatalf("both at once: %v", errs)
		}
		for i := range errs {
			if name := fmt.Sprintf("t%d-%d", n, i); !strings.Contains(refused.Error(), name) {
				t.Errorf("%q does not name %s", refused, name)
			}
		}
	}
}
