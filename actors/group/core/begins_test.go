package core

import (
	"encoding/json"
	"fmt"
	"maps"
	"testing"
	"time"

	"metaq/actors/actorstest"
	"metaq/protocol"
)

// startIn says how a group looks for its start in partition a 0-n.
func (g *groupScript) startIn(n int, start protocol.GroupPlace) string {
	g.t.Helper()
	c := g.sim.core
	r := c.startOf(g.sim.now, at(n), start)
	switch {
	case r.untold:
		return r.Start.At + " as it is"
	case !r.Since.IsZero():
		return fmt.Sprintf("%s since %s before the begin", r.Start.At, c.begins["a"].At.Sub(r.Since))
	default:
		return r.Start.At
	}
}

func TestWhereAGroupBegins(t *testing.T) {
	earlier, later := time.UnixMilli(999_000), time.UnixMilli(1_000_000_000)
	earliest, latest := protocol.GroupPlace{At: protocol.StartEarliest}, protocol.GroupPlace{At: protocol.StartLatest}
	offset := protocol.GroupPlace{At: protocol.StartOffset, Offset: 7}
	past, future := protocol.GroupPlace{At: protocol.StartTime, Time: &earlier}, protocol.GroupPlace{At: protocol.StartTime, Time: &later}
	join := func(g *groupScript, member string, start protocol.GroupPlace) {
		g.join(protocol.GroupJoin{Member: member, Start: start})
	}
	leave := func(g *groupScript, member string) {
		g.sim.do(g.sim.core.Leave(g.sim.now, protocol.GroupLeave{Member: member}, nil))
	}
	shows := func(g *groupScript, topic string, list Topic) {
		next := maps.Clone(g.sim.routes)
		next[topic] = list
		g.sim.routes = next
		g.sim.do(g.sim.core.TopicsChanged(g.sim.now, next))
	}
	for _, tt := range []struct {
		name  string
		start protocol.GroupPlace
		to    func(g *groupScript)
		part  int
		want  string
	}{
		{"earliest is the beginning of the log, whenever that is asked", earliest, func(g *groupScript) { join(g, "x", latest) }, 4, "earliest"},
		{"no start means earliest", protocol.GroupPlace{}, func(g *groupScript) { join(g, "x", latest) }, 4, ""},
		{"latest is the end while nobody was told", latest, func(g *groupScript) { g.sim.core.begin(g.sim.now, []string{"a"}) }, 4, "latest as it is"},
		{"an offset is what it says while nobody was told", offset, func(g *groupScript) { g.sim.core.begin(g.sim.now, []string{"a"}) }, 4, "offset as it is"},
		{"latest is the time of the begin once a member was told", latest, func(g *groupScript) { join(g, "x", latest) }, 4, "latest since 1m0s before the begin"},
		{"an offset beyond the end is the time of the begin, too", offset, func(g *groupScript) { join(g, "x", latest) }, 4, "offset since 1m0s before the begin"},
		{"a join that waits too long has begun all the same", latest, func(g *groupScript) {
			g.sim.core.begin(g.sim.now, []string{"a"})
			g.sim.now = g.sim.now.Add(joinWait)
		}, 4, "latest since 1m0s before the begin"},
		{"a restart of the coordinator has been told", latest, func(g *groupScript) {
			g.sim.core.begin(g.sim.now, []string{"a"})
			g.sim.do(g.sim.core.Settle(g.sim.now))
			g.sim.restart()
		}, 4, "latest since 1m0s before the begin"},
		{"a partition that came under a live member is read from its beginning", latest, func(g *groupScript) {
			join(g, "x", latest)
			shows(g, "a", Topic{IDs: actorstest.PartitionIDs(6)})
		}, 5, "earliest"},
		{"a partition that came while nobody was there, also", latest, func(g *groupScript) {
			join(g, "x", latest)
			leave(g, "x")
			shows(g, "a", Topic{IDs: actorstest.PartitionIDs(6)})
			g.sim.restart()
			join(g, "y", latest)
		}, 5, "earliest"},
		{"a partition that came is read from its beginning whatever the offset", offset, func(g *groupScript) {
			join(g, "x", offset)
			shows(g, "a", Topic{IDs: actorstest.PartitionIDs(6)})
		}, 5, "earliest"},
		{"a partition that came after the time is read from its beginning", past, func(g *groupScript) {
			join(g, "x", past)
			shows(g, "a", Topic{IDs: actorstest.PartitionIDs(6)})
		}, 5, "earliest"},
		{"a partition that came before the time is looked into", future, func(g *groupScript) {
			join(g, "x", future)
			shows(g, "a", Topic{IDs: actorstest.PartitionIDs(6)})
		}, 5, "time"},
		{"a time is a time in what was there", past, func(g *groupScript) { join(g, "x", past) }, 4, "time"},
		{"a topic that came is read from its beginning", latest, func(g *groupScript) {
			g.sim.routes = map[string]Topic{}
			g.sim.restart()
			join(g, "x", latest)
			leave(g, "x")
			shows(g, "a", Topic{IDs: actorstest.PartitionIDs(5)})
			join(g, "y", latest)
		}, 4, "earliest"},
		{"a topic that was made again is read from its beginning", latest, func(g *groupScript) {
			join(g, "x", latest)
			shows(g, "a", Topic{actorstest.PartitionIDs(5), 3})
		}, 4, "earliest"},
		{"a topic that the group wants later begins later", latest, func(g *groupScript) {
			g.join(protocol.GroupJoin{Member: "x", Topics: []string{"b"}, Start: latest})
			shows(g, "a", Topic{IDs: actorstest.PartitionIDs(6)})
			g.sim.advance(time.Second)
			g.sim.core.begin(g.sim.now, []string{"a"})
		}, 5, "latest as it is"},
		{"a later member with another start does not move the begin", latest, func(g *groupScript) {
			join(g, "x", earliest)
			g.sim.advance(2 * time.Second)
			join(g, "y", latest)
		}, 4, "latest since 1m0s before the begin"},
		{"a reset is a begin", latest, func(g *groupScript) {
			g.sim.do(g.sim.core.Reset(g.sim.now, []protocol.GroupPosition{{Topic: "a", Offset: 2}}, false, nil))
			shows(g, "a", Topic{IDs: actorstest.PartitionIDs(6)})
		}, 5, "earliest"},
		{"what a reset left out begins with the reset", latest, func(g *groupScript) {
			g.sim.do(g.sim.core.Reset(g.sim.now, []protocol.GroupPosition{{Topic: "a", Offset: 2}}, false, nil))
		}, 4, "latest since 1m0s before the begin"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := newGroupScript(t)
			tt.to(g)
			g.sim.core.part(at(tt.part))
			if got := g.startIn(tt.part, tt.start); got != tt.want {
				t.Errorf("it looks for %q, want %q", got, tt.want)
			}
		})
	}
}

// The end of a log that was asked for in time and comes too late is not taken.
func TestAnEndThatComesAfterTheMemberWasToldIsNotTheLatest(t *testing.T) {
	g := newGroupScript(t)
	c := g.sim.core
	r := protocol.GroupJoin{Member: "x", Topics: []string{"a"}, Start: protocol.GroupPlace{At: protocol.StartLatest}}
	if err := r.Check(); err != nil {
		t.Fatal(err)
	}
	asked := c.Join(g.sim.now, r, "x").Resolve
	g.sim.now = g.sim.now.Add(joinWait / 2)
	g.sim.do(c.Resolved(g.sim.now, asked[0], Place{Offset: 40}, nil))
	if p := c.Parts[asked[0].At]; !p.Known || p.Committed != 40 {
		t.Fatalf("in time it is not taken: %+v", p)
	}
	g.sim.now = g.sim.now.Add(joinWait / 2)
	c.Tick(g.sim.now) // answers the join
	again := c.Resolved(g.sim.now, asked[1], Place{Offset: 500}, nil).Resolve
	if p := c.Parts[asked[1].At]; p.Known {
		t.Errorf("the group begins at %d", p.Committed)
	}
	if len(again) != 1 || again[0].At != asked[1].At || !again[0].Since.Equal(c.begins["a"].At.Add(-ClockSlack)) {
		t.Errorf("it asks for %+v", again)
	}
}

// A group of a log that has no begins has begun where it has offsets or members: whatever
// it has no offset in may be new.
func TestAGroupOfAnOldLogHasBegun(t *testing.T) {
	images := Images{}
	var e Entry
	line := `{"group":"g","epoch":2,"state":{"generation":3,"members":[{"member":"m","topics":["a","c"],"session_ms":9,"release_ms":9}]},` +
		`"offsets":[{"topic":"a","partition":"0-0","offset":40},{"topic":"b","partition":"0-0","offset":1}]}`
	if err := json.Unmarshal([]byte(line), &e); err != nil {
		t.Fatal(err)
	}
	images.Apply(&e)
	routes := map[string]Topic{"a": {IDs: actorstest.PartitionIDs(2)}, "d": {IDs: actorstest.PartitionIDs(1)}}
	now := time.UnixMilli(1_000_000)
	c := New("g", images["g"], routes, now)
	latest := protocol.GroupPlace{At: protocol.StartLatest}
	for _, topic := range []string{"a", "b", "c"} {
		p := protocol.TopicPartition{Topic: topic, Partition: protocol.PartitionID{N: 1}}
		if r := c.startOf(now, p, latest); r.Start.At != protocol.StartEarliest {
			t.Errorf("in %s it looks for %+v", topic, r)
		}
	}
	images.Apply(c.Settle(now).Entry)
	if n := len(images["g"].Begins); n != 3 {
		t.Errorf("the log has begins of %d topics", n)
	}
	c.begin(now, []string{"d"})
	if r := c.startOf(now, protocol.TopicPartition{Topic: "d"}, latest); !r.untold {
		t.Errorf("in a topic that is new to it, it looks for %+v", r)
	}
}

// Topics that nobody wants any more are forgotten before they fill the log.
func TestAGroupForgetsTheOldestTopicsThatNobodyWants(t *testing.T) {
	g := newGroupScript(t)
	g.join(protocol.GroupJoin{Member: "x", Topics: []string{"a", "kept"}})
	for i := range maxBegins + 10 {
		g.sim.now = g.sim.now.Add(time.Millisecond)
		g.sim.core.begin(g.sim.now, []string{fmt.Sprintf("passing%d", i)})
		g.sim.do(g.sim.core.Settle(g.sim.now))
	}
	for _, begins := range []map[string]Begin{g.sim.core.begins, g.sim.images["g"].Begins} {
		if len(begins) != maxBegins {
			t.Errorf("it remembers %d", len(begins))
		}
		for topic, kept := range map[string]bool{"a": true, "kept": true, "passing0": false, fmt.Sprintf("passing%d", maxBegins): true} {
			if _, found := begins[topic]; found != kept {
				t.Errorf("%s: remembered %v", topic, found)
			}
		}
	}
}

func TestPlaceOf(t *testing.T) {
	reply := protocol.OffsetsReply{LogStart: 10, EndOffset: 30, Offset: 25}
	since := time.UnixMilli(1)
	for _, tt := range []struct {
		name  string
		place protocol.GroupPlace
		since time.Time
		want  protocol.Offset
	}{
		{"earliest", protocol.GroupPlace{At: protocol.StartEarliest}, since, 10},
		{"latest now", protocol.GroupPlace{At: protocol.StartLatest}, time.Time{}, 30},
		{"latest of then", protocol.GroupPlace{At: protocol.StartLatest}, since, 25},
		{"time", protocol.GroupPlace{At: protocol.StartTime}, time.Time{}, 25},
		{"an offset below the log", protocol.GroupPlace{At: protocol.StartOffset, Offset: 3}, time.Time{}, 10},
		{"an offset in the log", protocol.GroupPlace{At: protocol.StartOffset, Offset: 28}, time.Time{}, 28},
		{"an offset in the log of then", protocol.GroupPlace{At: protocol.StartOffset, Offset: 23}, since, 23},
		{"an offset that the log has reached since", protocol.GroupPlace{At: protocol.StartOffset, Offset: 28}, since, 25},
		{"an offset beyond the end", protocol.GroupPlace{At: protocol.StartOffset, Offset: 31}, time.Time{}, 30},
		{"an offset beyond the end of then", protocol.GroupPlace{At: protocol.StartOffset, Offset: 31}, since, 25},
	} {
		if got := PlaceOf(tt.place, tt.since, reply); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}

// Until a start has its epoch, a log that is cut and grows beyond it cannot be told from the
// one that the start was found in.
func TestAStartHasItsEpochFromTheBeginning(t *testing.T) {
	reply := protocol.OffsetsReply{EndOffset: 30, Epochs: []protocol.EpochStart{{Epoch: 2, First: 0}, {Epoch: 5, First: 30}}}
	if got := LabelledPlaceOf(protocol.GroupPlace{At: protocol.StartLatest}, time.Time{}, reply); got != (Place{30, 2}) {
		t.Errorf("the start is %v", got)
	}
	g := newGroupScript(t)
	e := g.sim.core.Join(g.sim.now, protocol.GroupJoin{Member: "x", Topics: []string{"a"}, SessionMs: 10_000}, nil)
	g.sim.core.Resolved(g.sim.now, e.Resolve[0], Place{30, 2}, nil)
	if p := g.sim.core.Parts[e.Resolve[0].At]; p.Committed != 30 || p.epoch != 2 {
		t.Errorf("the group begins at %d, epoch %d", p.Committed, p.epoch)
	}
	for _, place := range []protocol.GroupPlace{{}, {At: protocol.StartLatest}, {At: protocol.StartTime, Time: new(time.Time)}} {
		if !RequestFor(place, time.Time{}).Epochs || !RequestFor(place, time.UnixMilli(1)).Epochs {
			t.Errorf("the leader is not asked for epochs to find %+v", place)
		}
	}
}
