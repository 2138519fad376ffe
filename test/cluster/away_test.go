//go:build unix

package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"metaq/client"
	"metaq/protocol"
)

// clientPatience is how long NATS clients wait when nobody says otherwise.
const clientPatience = 5 * time.Second

// What an answer says of the change that was not made.
const (
	never = "will not be carried out"
	maybe = "may still be carried out"
)

// answerOf makes one request as a plain NATS client does.
func answerOf(nc *nats.Conn, subject, body string) (text string, err error) {
	m, err := nc.Request(subject, []byte(body), clientPatience)
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", subject, body, err)
	}
	var refused *protocol.Error
	switch err := protocol.DecodeError(m.Data); {
	case err == nil:
		return string(m.Data), nil
	case errors.As(err, &refused) && refused.Code == 503:
		return refused.Description, nil
	default:
		return "", fmt.Errorf("%s %s: %w", subject, body, err)
	}
}

// Without ZooKeeper every change is refused, before clients give up, and what was refused
// for good is not made once ZooKeeper is back.
func TestChangesWithoutZooKeeperAreRefusedInTime(t *testing.T) {
	w := newWorld(t, 1, 0)
	w.create("t", 2)
	nc := w.nats(0)
	changes := func(name string) map[string]string {
		return map[string]string{
			"metaq.admin.topic.create":       fmt.Sprintf(`{"topic":%q,"partitions":1}`, name),
			"metaq.admin.topic.set":          `{"topic":"t","partitions":7}`,
			"metaq.admin.topic.delete":       `{"topic":"t"}`,
			"metaq.group." + name + ".join":  `{"member":"x","topics":["t"]}`,
			"metaq.group." + name + ".reset": `{"topic":"t","to":{"at":"earliest"}}`,
			"metaq.put." + name + "-put":     "x",
		}
	}
	kill(t, w.zk.Servers[0])

	// The broker learns of it while these are on their way.
	var (
		all   sync.WaitGroup
		mu    sync.Mutex
		texts = map[string]string{}
	)
	for subject, body := range changes("early") {
		all.Go(func() {
			text, err := answerOf(nc, subject, body)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			texts[subject] = text
		})
	}
	all.Wait()
	for subject, text := range texts {
		if !strings.Contains(text, never) && !strings.Contains(text, maybe) && !strings.Contains(text, "is being") {
			t.Errorf("%s: %q does not say whether it may still happen", subject, text)
		}
	}
	w.eventually("a refusal without a wait", patience, func(context.Context) error {
		text, err := answerOf(nc, "metaq.admin.topic.create", `{"topic":"n","partitions":1}`)
		if err == nil && !strings.Contains(text, "it has not answered for") {
			err = errors.New(text)
		}
		return err
	})
	for subject, body := range changes("late") {
		if text, err := answerOf(nc, subject, body); err != nil || !strings.Contains(text, never) {
			t.Errorf("%s: %q, %v", subject, text, err)
		}
	}
	// Nobody has asked for a producer id so far, and a new producer can publish.
	p, err := w.connect(0).NewProducer()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := p.Send(ctx, client.Record{Topic: "t", Value: []byte("x")}); err != nil {
		t.Errorf("a new producer without ZooKeeper: %v", err)
	}
	if err := p.Close(ctx); err != nil {
		t.Error(err)
	}

	if err := w.zk.Servers[0].Start(); err != nil {
		t.Fatal(err)
	}
	w.quorum()
	w.eventually("a topic once ZooKeeper is back", patience, func(ctx context.Context) error {
		_, err := w.connect(0).Admin().CreateTopic(ctx, protocol.TopicCreate{Topic: "after", Partitions: 1})
		return err
	})
	allowed := []string{"t", "after"}
	for subject, text := range texts {
		if strings.Contains(text, maybe) {
			allowed = append(allowed, "early", "early-put")
			t.Logf("%s: %s", subject, text)
		}
	}
	var list protocol.TopicList
	text, err := answerOf(nc, "metaq.admin.topic.ls", "")
	if err == nil {
		err = json.Unmarshal([]byte(text), &list)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range list.Topics {
		if !slices.Contains(allowed, topic.Topic) {
			t.Errorf("topic %s was made though its request was refused for good", topic.Topic)
		}
	}
	if !strings.Contains(text, `"t"`) {
		t.Errorf("topic t was deleted though its request was refused for good: %s", text)
	}
}
