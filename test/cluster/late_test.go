//go:build unix

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

// A request to delete lies in a broker that is frozen. Its client gives up; the topic is
// deleted at another broker and made again, and has messages. When the broker thaws, it
// leaves the new topic alone, and so it does the group.
func TestADeletionFromBeforeAFreezeIsNotCarriedOut(t *testing.T) {
	w := newWorld(t, 1, 0, 1)
	w.create("t", 2)
	frozen := w.nats(1)
	answers, err := frozen.SubscribeSync(frozen.NewInbox())
	if err == nil {
		err = frozen.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	w.brokers[1].Pause()
	paused := time.Now()
	t.Cleanup(w.brokers[1].Resume) // so that it can be stopped
	for _, subject := range []string{"metaq.admin.topic.delete", "metaq.admin.topic.set"} {
		body := `{"topic":"t"}`
		if strings.HasSuffix(subject, "set") {
			body = `{"topic":"t","partitions":9}`
		}
		if err := frozen.PublishRequest(subject, answers.Subject, []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := frozen.FlushTimeout(time.Second); !errors.Is(err, nats.ErrTimeout) {
		t.Fatalf("the frozen broker answers: %v", err)
	}

	admin := w.connect(0).Admin()
	w.eventually("its registration to go", time.Until(paused.Add(expiry)), func(ctx context.Context) error {
		info, err := admin.ClusterInfo(ctx)
		if err == nil && len(info.Brokers) != 1 {
			err = fmt.Errorf("brokers %+v", info.Brokers)
		}
		return err
	})
	if err := admin.DeleteTopic(t.Context(), "t"); err != nil {
		t.Fatal(err)
	}
	made, err := admin.CreateTopic(t.Context(), protocol.TopicCreate{Topic: "t", Partitions: 2})
	if err != nil {
		t.Fatal(err)
	}
	p, err := w.connect(0).NewProducer()
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if _, err := p.Send(t.Context(), client.Record{Topic: "t", Value: []byte("of the new topic")}); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}

	w.brokers[1].Resume()
	for range 2 {
		m, err := answers.NextMsg(patience)
		if err != nil {
			t.Fatalf("what was asked of the frozen broker has no answer: %v", err)
		}
		if err := protocol.DecodeError(m.Data); !errors.Is(err, protocol.ErrUnavailable) || !strings.Contains(err.Error(), never) {
			t.Errorf("%s: %v", m.Data, err)
		}
	}
	w.whole("t", 4) // it has the new topic
	info, err := admin.TopicInfo(t.Context(), "t")
	if err != nil {
		t.Fatal(err)
	}
	messages := 0
	for _, p := range info.Partitions {
		messages += int(p.EndOffset - p.LogStart)
	}
	if messages != 10 || info.Born == nil || *info.Born != *made.Born {
		t.Errorf("%d of 10 messages are there, and the topic is %+v, not %+v", messages, info, made)
	}
}
