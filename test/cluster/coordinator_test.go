//go:build unix

package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"metaq/protocol"
	zktest "metaq/test/zk"
)

// askGroup makes one request to group g at a broker.
func askGroup[T any](ctx context.Context, nc *nats.Conn, verb string, request any) (reply T, err error) {
	body, err := json.Marshal(request)
	if err != nil {
		return reply, err
	}
	m, err := nc.RequestWithContext(ctx, "metaq.group.g."+verb, body)
	if err != nil {
		return reply, err
	}
	if err := protocol.DecodeError(m.Data); err != nil {
		return reply, err
	}
	return reply, json.Unmarshal(m.Data, &reply)
}

// joins has a member join through a broker, which takes as long as its coordinator is found.
func (w *world) joins(nc *nats.Conn, member string, within time.Duration) (view protocol.GroupView) {
	w.t.Helper()
	join := protocol.GroupJoin{Member: member, Topics: []string{"t"}, SessionMs: 120_000}
	w.eventually(member+" to join", within, func(ctx context.Context) (err error) {
		view, err = askGroup[protocol.GroupView](ctx, nc, "join", join)
		return err
	})
	return view
}

// coordinator reads from the registry who coordinates group g.
func (w *world) coordinator() (leader int) {
	w.t.Helper()
	var epoch int
	if _, err := fmt.Sscanf(w.tree()["/meta/nats/groups/g"], `{"epoch":%d,"leader":%d}`, &epoch, &leader); err != nil {
		w.t.Fatal(err)
	}
	return leader
}

// leased waits until a broker's lease names a number of others.
func (w *world) leased(id, others int) {
	w.t.Helper()
	w.eventually("the lease to name the other brokers", patience, func(context.Context) error {
		data := w.tree()[fmt.Sprintf("/meta/nats/leases/%d", id)]
		var lease struct {
			With map[int]string `json:"with"`
		}
		if err := json.Unmarshal([]byte(data), &lease); err != nil {
			return err
		}
		if len(lease.With) != others {
			return fmt.Errorf("it is %s", data)
		}
		return nil
	})
}

func commitFrom(view protocol.GroupView, offset protocol.Offset) protocol.GroupCommit {
	at := view.Assigned[0]
	at.Offset, at.Epoch = offset, 0
	return protocol.GroupCommit{Member: view.Member, Generation: view.Generation, Offsets: []protocol.GroupPosition{at}}
}

// The packets between a coordinator and ZooKeeper are lost, and nothing else is. Another broker
// takes the group over; from the moment when it has, the one that is cut off takes nothing more
// in the name of the group, long before its session is over, and the generation has grown.
func TestACoordinatorThatIsCutOffFromZooKeeperGivesWay(t *testing.T) {
	w := &world{t: t, zk: zktest.Start(t, 1), root: "/meta"}
	proxy := zktest.NewProxy(t, w.zk.Servers[0].Address)
	long := map[string]string{"zk-session-timeout-ms": "30000", "zk-group-lease-ms": "2000"}
	w.add(w.start(0, map[string]string{"zookeeper": proxy.Address, "zk-session-timeout-ms": "30000", "zk-group-lease-ms": "2000"}))
	w.add(w.start(1, long))
	w.create("t", 2)
	f := w.produce(w.connect(1), "t")
	f.flows(100, patience)
	f.stop()
	cut, other := w.nats(0), w.nats(1)
	old := w.joins(cut, "old", patience)
	if at := w.coordinator(); at != 0 {
		t.Fatalf("broker %d coordinates the group", at)
	}
	if _, err := askGroup[protocol.GroupOffsets](t.Context(), cut, "commit", commitFrom(old, 1)); err != nil {
		t.Fatal(err)
	}

	w.leased(0, 1)
	proxy.Set(zktest.Stalled)
	w.eventually("a take-over", patience, func(ctx context.Context) error {
		_, err := askGroup[protocol.GroupInfo](ctx, other, "info", struct{}{}) // it is this that makes the broker look
		if at := w.coordinator(); at != 1 {
			return fmt.Errorf("broker %d coordinates the group, info: %w", at, errors.Join(errors.New("answer"), err))
		}
		return nil
	})
	fresh := w.joins(other, "fresh", patience)
	if _, there := w.tree()["/meta/nats/brokers/0"]; !there {
		t.Error("the session of the broker that is cut off is over: nothing is proved")
	}
	if fresh.Generation <= old.Generation {
		t.Errorf("the successor's generation is %d, the one before was %d", fresh.Generation, old.Generation)
	}
	for range 20 {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		if _, err := askGroup[protocol.GroupOffsets](ctx, cut, "commit", commitFrom(old, 2)); err == nil {
			t.Fatal("the broker that is cut off has taken a commit of a member that it alone knows")
		}
		beat := protocol.GroupHeartbeat{Member: old.Member, Generation: old.Generation}
		if _, err := askGroup[protocol.GroupView](ctx, cut, "heartbeat", beat); err == nil {
			t.Fatal("the broker that is cut off has taken a heartbeat of a member that it alone knows")
		}
		if _, err := askGroup[protocol.GroupOffsets](ctx, other, "commit", commitFrom(fresh, 3)); err != nil {
			t.Errorf("the successor refuses its member: %v", err)
		}
		cancel()
	}
	// Clients of the broker that is cut off reach the new coordinator through it.
	w.eventually("an answer through the broker that is cut off", patience, func(ctx context.Context) error {
		info, err := askGroup[protocol.GroupInfo](ctx, cut, "info", struct{}{})
		if err == nil && info.Coordinator != 1 {
			err = fmt.Errorf("coordinator is %d", info.Coordinator)
		}
		return err
	})

	proxy.Set(zktest.Healthy)
	w.eventually("the old coordinator to follow the new one", patience, func(ctx context.Context) error {
		beat := protocol.GroupHeartbeat{Member: fresh.Member, Generation: fresh.Generation}
		_, err := askGroup[protocol.GroupView](ctx, cut, "heartbeat", beat)
		return err
	})
}

// The coordinator is killed. Another broker takes the group over when its lease has run out,
// long before its session has, and members continue under a higher generation.
func TestAGroupDoesNotWaitForTheSessionOfItsKilledCoordinator(t *testing.T) {
	for _, ids := range [][]int{{0, 1}, {0, 1, 2}} {
		t.Run(fmt.Sprint(len(ids)), func(t *testing.T) {
			w := &world{t: t, zk: zktest.Start(t, 1), root: "/meta"}
			for _, id := range ids {
				w.add(w.start(id, map[string]string{"zk-session-timeout-ms": "30000"}))
			}
			w.create("t", 1)
			f := w.produce(w.connect(1), "t")
			f.flows(100, patience)
			f.stop()
			old := w.joins(w.nats(0), "old", patience)
			at := w.coordinator() // any broker may have been asked first
			w.leased(at, len(ids)-1)
			w.brokers[at].Kill()
			killed := time.Now()
			fresh := w.joins(w.nats((at+1)%len(ids)), "fresh", patience)
			t.Logf("taken over %s after the kill", time.Since(killed).Round(time.Millisecond))
			if _, there := w.tree()[fmt.Sprintf("/meta/nats/brokers/%d", at)]; !there {
				t.Error("its session is over: the group has waited for it")
			}
			if fresh.Generation <= old.Generation {
				t.Errorf("the successor's generation is %d, the one before was %d", fresh.Generation, old.Generation)
			}
			w.brokers[at].Start()
			w.eventually("the old coordinator to know the new one", patience, func(ctx context.Context) error {
				info, err := askGroup[protocol.GroupInfo](ctx, w.nats(at), "info", struct{}{})
				if err == nil && info.Coordinator == at {
					err = errors.New("it says that it is the coordinator")
				}
				return err
			})
		})
	}
}

// A broker that is alone in the registry can ask nobody whether somebody has come: without
// ZooKeeper it coordinates for a session, then refuses, and continues where it was afterwards.
func TestALoneBrokerCoordinatesNoLongerThanItsSession(t *testing.T) {
	w := newWorld(t, 1, 0)
	w.create("t", 1)
	nc := w.nats(0)
	view := w.joins(nc, "m", patience)
	commit := func(ctx context.Context, offset protocol.Offset) error {
		_, err := askGroup[protocol.GroupOffsets](ctx, nc, "commit", commitFrom(view, offset))
		return err
	}
	f := w.produce(w.connect(0), "t")
	f.flows(100, patience)
	kill(t, w.zk.Servers[0])
	w.eventually("commits to be refused", patience, func(ctx context.Context) error {
		err := commit(ctx, 1)
		if !errors.Is(err, protocol.ErrUnavailable) {
			return fmt.Errorf("a commit was answered %w", errors.Join(errors.New("with"), err))
		}
		return nil
	})
	w.eventually("the line in the log that says so", patience, func(context.Context) error {
		if !strings.Contains(w.brokers[0].Log(), "lease has run out") {
			return errors.New("it does not")
		}
		return nil
	})
	f.flows(50, back)
	f.stop()
	if err := w.zk.Servers[0].Start(); err != nil {
		t.Fatal(err)
	}
	w.quorum()
	w.eventually("commits to be taken again, of the same member and generation", patience, func(ctx context.Context) error { return commit(ctx, 2) })
}
