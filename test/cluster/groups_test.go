//go:build unix

package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"metaq/client"
	"metaq/protocol"
	"metaq/test/process"
)

// readers are the members of a group, one connected to each broker.
type readers struct {
	w       *world
	members []*client.Consumer
	mu      sync.Mutex // guards seen
	seen    map[string]bool
}

// consume has a group process a topic until the test ends.
func (w *world) consume(group, topic string) *readers {
	w.t.Helper()
	r := &readers{w: w, seen: map[string]bool{}}
	for i := range w.brokers {
		c, err := w.connect(i).NewConsumer(w.t.Context(), group, []string{topic}, func(_ context.Context, rec client.Record) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.seen[string(rec.Value)] = true
			return nil
		})
		if err != nil {
			w.t.Fatal(err)
		}
		r.members = append(r.members, c)
	}
	w.t.Cleanup(r.stop)
	return r
}

// stop closes the members; it may be called again.
func (r *readers) stop() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.w.t.Context()), patience)
	defer cancel()
	for _, c := range r.members {
		if err := c.Close(ctx); err != nil {
			r.w.t.Errorf("close the consumer: %v", err)
		}
	}
}

// reads waits until the group has processed all that was acknowledged up to now.
func (r *readers) reads(l *ledger, within time.Duration) {
	r.w.t.Helper()
	l.mu.Lock()
	acked := slices.Collect(maps.Keys(l.acked))
	l.mu.Unlock()
	r.w.eventually("all that was acknowledged to be processed", within, func(context.Context) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		missing := 0
		for _, payload := range acked {
			if !r.seen[payload] {
				missing++
			}
		}
		if missing > 0 {
			return fmt.Errorf("%d of %d are missing", missing, len(acked))
		}
		return nil
	})
}

// A group's members are connected to different brokers and share the partitions of
// both; when the coordinator goes, the group goes on.
func TestAGroupOutlivesItsCoordinator(t *testing.T) {
	w := newWorld(t, 1, 0, 1)
	w.create("t", 2)
	group := w.consume("workers", "t")
	f := w.produce(w.connect(0), "t")
	f.flows(200, patience)
	var at int
	w.eventually("a coordinator", patience, func(context.Context) error {
		_, err := fmt.Sscanf(w.tree()["/meta/nats/groups/workers"], `{"epoch":1,"leader":%d}`, &at)
		return err
	})
	// Another broker is asked, and sends the request on.
	nc := w.nats(1 - at)
	for range 20 { // each goes to one of the two
		answer, err := nc.Request("metaq.group.workers.info", []byte(`{}`), 5*time.Second)
		if err != nil || protocol.DecodeError(answer.Data) != nil || !strings.Contains(string(answer.Data), `"coordinator":`+fmt.Sprint(at)) {
			t.Fatalf("group info: %v, %s", err, answer.Data)
		}
	}
	// Any broker lists the groups of all, also those of a broker that coordinated them once.
	lists := func() {
		t.Helper()
		w.eventually("every broker to list the group with its members", patience, func(context.Context) error {
			for range 20 { // each goes to one of the two
				answer, err := nc.Request("metaq.admin.group.ls", []byte(`{}`), 5*time.Second)
				if err != nil {
					return err
				}
				if strings.Count(string(answer.Data), `"group":"workers","members":2`) != 1 || strings.Contains(string(answer.Data), "silent") {
					return errors.New(string(answer.Data))
				}
			}
			return nil
		})
	}
	lists()
	w.brokers[at].Kill()
	killed := time.Now()
	w.eventually("another coordinator", patience, func(context.Context) error {
		if now := w.tree()["/meta/nats/groups/workers"]; !strings.Contains(now, fmt.Sprintf(`"leader":%d`, 1-at)) {
			return errors.New(now)
		}
		return nil
	})
	t.Logf("taken over %s after the kill, with a session timeout of %s", time.Since(killed).Round(time.Millisecond), sessionTimeout)
	w.brokers[at].Start()
	w.whole("t", 4)
	f.flows(200, patience)
	f.stop()
	group.reads(f.ledger, patience)
	lists()
}

// A topic that is deleted at one broker goes from all, and a broker that comes back
// under another address is found.
func TestChangesReachEveryBroker(t *testing.T) {
	w := newWorld(t, 1, 0)
	second := w.flags(1, nil)
	w.add(w.start0(second))
	w.create("t", 2)
	if _, err := w.connect(1).Admin().SetTopic(t.Context(), protocol.TopicSet{Topic: "t", Partitions: 3}); err != nil {
		t.Fatal(err)
	}
	w.whole("t", 6)

	// The same data, other ports.
	w.brokers[1].Kill()
	second["data"] = w.brokers[1].Dir
	w.brokers[1] = w.start0(second)
	w.whole("t", 6)
	f := w.produce(w.connect(0), "t")
	f.flows(200, patience)
	f.stop()
	w.judge("t", f.ledger)

	if err := w.connect(0).Admin().DeleteTopic(t.Context(), "t"); err != nil {
		t.Fatal(err)
	}
	for i := range w.brokers {
		for _, p := range []string{"0-0", "1-0"} {
			w.eventually("the topic to go from "+p, patience, func(ctx context.Context) error {
				answer, err := w.nats(i).RequestWithContext(ctx, "metaq.get.t."+p, []byte(`{}`))
				if err == nil && protocol.DecodeError(answer.Data) == nil {
					return errors.New("it is still served")
				}
				return nil
			})
		}
	}
}

// A topic that is deleted and made again while a broker is away begins empty there, too,
// whether the broker was killed or only could not be reached.
func TestATopicIsMadeAgainWhileABrokerIsAway(t *testing.T) {
	for name, away := range map[string]struct{ leave, comeBack func(*process.Broker) }{
		"killed": {(*process.Broker).Kill, (*process.Broker).Start},
		"frozen": {(*process.Broker).Pause, (*process.Broker).Resume},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 1, 0, 1)
			w.create("t", 2)
			w.create("kept", 2)
			old, kept := w.produce(w.connect(0), "t"), w.produce(w.connect(0), "kept")
			old.flows(200, patience)
			kept.flows(200, patience)
			old.stop()
			kept.stop()

			away.leave(w.brokers[1])
			w.unregistered(1, expiry)
			admin := w.connect(0).Admin()
			if err := admin.DeleteTopic(t.Context(), "t"); err != nil {
				t.Fatal(err)
			}
			if _, err := admin.CreateTopic(t.Context(), protocol.TopicCreate{Topic: "t", Partitions: 2}); err != nil {
				t.Fatal(err)
			}
			away.comeBack(w.brokers[1])
			returned := time.Now()
			// Until then it does not know better, and serves the topic that was.
			w.eventually("its claim of the new topic", back, func(context.Context) error {
				if _, there := w.tree()["/meta/nats/partitions/t/1"]; !there {
					return errors.New("there is none")
				}
				return nil
			})
			w.wholeBy("t", 4, returned.Add(back))
			if got := w.readAll("t"); len(got) != 0 {
				t.Errorf("%d messages of the topic before are there", len(got))
			}
			w.judge("kept", kept.ledger)
			if got := w.readAll("kept"); len(got) < 200 {
				t.Errorf("%d messages of the other topic are there", len(got))
			}
			fresh := w.produce(w.connect(1), "t")
			fresh.flows(100, back)
			fresh.stop()
			w.judge("t", fresh.ledger)
		})
	}
}

// A group's coordinator goes, and while nobody coordinates the group its topic is deleted
// and made again. The successor knows the offsets of the old topic by the mirror, and does
// not go on with them in the new one.
func TestATopicIsMadeAgainWhileTheCoordinatorIsAway(t *testing.T) {
	w := newWorld(t, 1, 0, 1)
	w.create("t", 2)
	group := func() string { return w.tree()["/meta/nats/groups/workers"] }
	coordinator := func() (epoch, at int) {
		w.eventually("a coordinator", patience, func(context.Context) error {
			_, err := fmt.Sscanf(group(), `{"epoch":%d,"leader":%d}`, &epoch, &at)
			return err
		})
		return epoch, at
	}
	old := w.produce(w.connect(0), "t")
	old.flows(400, patience)
	old.stop()
	workers := w.consume("workers", "t")
	workers.reads(old.ledger, patience)
	workers.stop()
	_, first := coordinator()
	mirrored := func() (sum int) {
		for path, data := range w.tree() {
			var id, offset int
			if !strings.HasPrefix(path, "/meta/consumers/workers/offsets/t/") {
				continue
			}
			if _, err := fmt.Sscanf(data, "%d-%d", &id, &offset); err != nil {
				t.Errorf("%s has %q", path, data)
			}
			sum += offset
		}
		return sum
	}
	total := old.len()
	w.eventually("the mirror to have all", patience, func(context.Context) error {
		if n := mirrored(); n < total {
			return fmt.Errorf("it has %d of %d", n, total)
		}
		return nil
	})

	w.brokers[first].Kill()
	w.unregistered(first, expiry)
	admin := w.connect(1 - first).Admin()
	if err := admin.DeleteTopic(t.Context(), "t"); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.CreateTopic(t.Context(), protocol.TopicCreate{Topic: "t", Partitions: 2}); err != nil {
		t.Fatal(err)
	}
	var offsets []protocol.GroupPosition
	w.eventually("offsets at the successor", patience, func(ctx context.Context) (err error) {
		if offsets, err = admin.GroupOffsets(ctx, "workers"); err == nil && len(offsets) == 0 {
			err = errors.New("there are none")
		}
		return err
	})
	for _, o := range offsets {
		if o.Offset != 0 {
			t.Errorf("offset of %s is %d in the new topic", o.At(), o.Offset)
		}
	}
	w.brokers[first].Start()
	w.whole("t", 4)
	fresh := w.produce(w.connect(0), "t")
	fresh.flows(1000, back) // past the old offsets
	fresh.stop()

	w.consume("workers", "t").reads(fresh.ledger, patience)
	if epoch, _ := coordinator(); epoch < 2 {
		t.Errorf("nobody took the group over: %s", group())
	}
	w.eventually("the mirror to say of which topic it is", patience, func(context.Context) error {
		if data := w.tree()["/meta/consumers/workers/offsets/t"]; data == "" || data == "0" {
			return fmt.Errorf("it says %q", data)
		}
		return nil
	})
}

// What a deleted group had committed does not come back with the broker that coordinates
// the next group of that name.
func TestADeletedGroupBeginsAnewAtAnotherCoordinator(t *testing.T) {
	w := newWorld(t, 1, 0, 1)
	w.create("t", 2)
	f := w.produce(w.connect(0), "t")
	f.flows(100, patience)
	f.stop()
	group := w.consume("workers", "t")
	group.reads(f.ledger, patience)
	group.stop()
	offsets := func() (n int) {
		for path := range w.tree() {
			if strings.HasPrefix(path, "/meta/consumers/workers/offsets/t/") {
				n++
			}
		}
		return n
	}
	w.eventually("mirrored offsets", patience, func(context.Context) error {
		if n := offsets(); n != 4 {
			return fmt.Errorf("there are %d", n)
		}
		return nil
	})
	if err := w.connect(0).Admin().GroupDelete(t.Context(), "workers", false); err != nil {
		t.Fatal(err)
	}
	if n := offsets(); n != 0 {
		t.Errorf("%d offsets are left", n)
	}
	var at int
	if _, err := fmt.Sscanf(w.tree()["/meta/nats/groups/workers"], `{"epoch":2,"leader":%d,"deleted":1}`, &at); err != nil {
		t.Fatal(err, w.tree()["/meta/nats/groups/workers"])
	}
	w.brokers[at].Kill()
	w.unregistered(at, expiry)
	admin := w.connect(1 - at).Admin()
	w.eventually("the other broker to claim the group, and to have none", patience, func(ctx context.Context) error {
		if _, err := admin.GroupInfo(ctx, "workers"); !errors.Is(err, client.ErrNoGroup) {
			return fmt.Errorf("group info: %w", err)
		}
		return nil
	})
	w.brokers[at].Start()
	w.whole("t", 4)
	w.consume("workers", "t").reads(f.ledger, patience)
}
