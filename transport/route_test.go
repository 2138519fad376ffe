package transport

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"metaq/protocol"
)

func TestAKeyChoosesThePartition(t *testing.T) {
	r := newRig(t, nil)
	for i := range 50 {
		key := fmt.Sprint("key-", i)
		want := protocol.PartitionOf([]byte(key), 4)
		answer := r.ask("metaq.put.t", nats.Header{"Metaq-Key": {key}}, "x")
		if want == 3 {
			if codeOf(t, answer) != 503 {
				t.Errorf("key %s of the partition without a leader: %s", key, answer)
			}
		} else if got := ackOf(t, answer).Partition.N; got != want {
			t.Errorf("key %s went to partition %d, want %d", key, got, want)
		}
	}
	for _, p := range r.parts {
		for _, rec := range p.stored() {
			if rec.Key == nil || rec.Headers != nil {
				t.Errorf("record %+v: the key belongs into Key, not into the headers", rec)
			}
		}
	}
}

func TestMessagesWithoutAKeyGoRoundTheLeaders(t *testing.T) {
	r := newRig(t, nil)
	var got []int
	for range 7 {
		got = append(got, ackOf(t, r.ask("metaq.put.t", nil, "x")).Partition.N)
	}
	if d := cmp.Diff([]int{0, 1, 2, 0, 1, 2, 0}, got); d != "" {
		t.Error(d)
	}
}

func TestAnEmptyKeyIsAKey(t *testing.T) {
	r := newRig(t, nil)
	want := protocol.PartitionOf([]byte{}, 4)
	for range 3 {
		if got := ackOf(t, r.ask("metaq.put.t", nats.Header{"Metaq-Key": {""}}, "x")).Partition.N; got != want {
			t.Errorf("went to %d, want %d", got, want)
		}
	}
}

func TestHeadersAreStoredSortedByName(t *testing.T) {
	r := newRig(t, nil)
	r.ask("metaq.put.t.0-0", nats.Header{"b": {"2", "1"}, "B": {"3"}, "a": {""}, "Metaq-Key": {"k"}, "Metaq-Attribute": {"x"}}, "v")
	want := protocol.Record{
		Key: []byte("k"), Value: []byte("v"),
		Headers: []protocol.Header{{Name: "B", Value: "3"}, {Name: "Metaq-Attribute", Value: "x"}, {Name: "a"}, {Name: "b", Value: "2"}, {Name: "b", Value: "1"}},
	}
	if d := cmp.Diff([]protocol.Record{want}, r.parts[0].stored()); d != "" {
		t.Error(d)
	}
}

func TestOneConnectionsMessagesKeepTheirOrder(t *testing.T) {
	r := newRig(t, nil)
	var want []string
	for i := range 3000 {
		want = append(want, fmt.Sprint(i))
		r.request("metaq.put.t.0-1", nil, want[i])
	}
	r.wait(fmt.Sprint(*r.asked))
	if d := cmp.Diff(want, r.parts[1].values()); d != "" {
		t.Error(d)
	}
}

func TestRoutesThatChangeKeepWhatIsInFlight(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Partition.Requests = 1 })
	r.parts[0].holdBack()
	first := r.request("metaq.put.t.0-0", nil, "first")
	route := *r.topics["t"]
	route.All = append(route.All, protocol.PartitionID{Home: 1, N: 0})
	route.Leaders = append(route.Leaders, nil)
	r.mu.Lock()
	r.topics["t"] = &route
	r.mu.Unlock()
	eventually(t, "the first put is held", func() bool {
		r.parts[0].mu.Lock()
		defer r.parts[0].mu.Unlock()
		return len(r.parts[0].held) == 1
	})
	r.publishRoutes()
	if answer := r.ask("metaq.put.t.0-0", nil, "second"); codeOf(t, answer) != 429 {
		t.Errorf("the bound was forgotten: %s", answer)
	}
	if answer := r.ask("metaq.put.t.1-0", nil, "x"); codeOf(t, answer) != 503 {
		t.Errorf("the new partition: %s", answer)
	}
	r.parts[0].release()
	ackOf(t, string(r.wait(first)))
	ackOf(t, r.ask("metaq.put.t.0-0", nil, "third"))
}
