package groups

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"metaq/client"
	"metaq/protocol"
)

// judge hears what producers, members and the group say, and finds what must not
// be. Its methods may be called from any goroutine.
type judge struct {
	mu        sync.Mutex // guards what follows
	acked     map[string]bool
	values    map[string]int
	processed map[protocol.TopicPartition]map[client.Offset][]time.Time
	runs      map[string]*run // by member and partition
	taken     map[protocol.TopicPartition][]taken
	high      map[protocol.TopicPartition]client.Offset
	early     []early
	incidents []incident
	again     int
	refused   int           // stale commits
	mirrored  time.Duration // after a kill offsets may go back to a mirror; 0: never
	faults    []string
}

// run is one time that a member has a partition.
type run struct {
	began time.Time
	next  client.Offset
	known bool
}

// taken is a commit that was taken.
type taken struct {
	member       string
	assigned     time.Time // begin of the member's run
	began, ended time.Time
}

// early is a committed offset that stands above what the judge has heard of.
type early struct {
	at       protocol.TopicPartition
	from, to client.Offset
	since    time.Time
}

// incident is a time around which records may come twice.
type incident struct {
	what         string
	began, ended time.Time
}

// hearing bounds how long what a member said takes to be heard.
const hearing = 5 * time.Second

func newJudge() *judge {
	return &judge{
		acked: map[string]bool{}, values: map[string]int{}, processed: map[protocol.TopicPartition]map[client.Offset][]time.Time{},
		runs: map[string]*run{}, taken: map[protocol.TopicPartition][]taken{}, high: map[protocol.TopicPartition]client.Offset{},
	}
}

func (j *judge) faultLocked(format string, args ...any) {
	if len(j.faults) < 20 {
		j.faults = append(j.faults, fmt.Sprintf(format, args...))
	}
}

func (j *judge) ack(value string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.acked[value] = true
}

// hear takes what a member did.
func (j *judge) hear(member string, d deed) {
	j.mu.Lock()
	defer j.mu.Unlock()
	at := d.at()
	key := member + " " + at.String()
	switch d.What {
	case "assigned":
		j.runs[key] = &run{began: d.Began}
	case "revoked":
		delete(j.runs, key)
	case "processed":
		r := j.runs[key]
		if r == nil {
			j.faultLocked("%s processed offset %d of %s, which it does not have", member, d.Offset, at)
			return
		}
		if r.known && d.Offset != r.next {
			j.faultLocked("%s got offset %d of %s, expected %d", member, d.Offset, at, r.next)
		}
		r.next, r.known = d.Offset+1, true
		j.values[d.Value]++
		if j.processed[at] == nil {
			j.processed[at] = map[client.Offset][]time.Time{}
		}
		j.processed[at][d.Offset] = append(j.processed[at][d.Offset], d.Began)
	case "committed":
		r := j.runs[key]
		if r == nil {
			j.faultLocked("%s committed offset %d of %s, which it does not have", member, d.Offset, at)
			return
		}
		j.takeLocked(at, taken{member: member, assigned: r.began, began: d.Began, ended: d.Ended})
	}
}

// takeLocked finds two owners: one got the partition after the other and had a commit
// taken, and then the other one still had one taken.
func (j *judge) takeLocked(at protocol.TopicPartition, t taken) {
	for _, o := range j.taken[at] {
		if o.member == t.member {
			continue
		}
		first, second := o, t
		if second.assigned.Before(first.assigned) {
			first, second = second, first
		}
		if first.began.After(second.ended) {
			j.faultLocked("%s had a commit of %s taken after %s had got the partition and committed", first.member, at, second.member)
		}
	}
	j.taken[at] = append(j.taken[at], t)
	if n := len(j.taken[at]); n > 200 {
		j.taken[at] = slices.Delete(j.taken[at], 0, n-200)
	}
}

// look compares committed offsets with what was processed.
func (j *judge) look(now time.Time, offsets []protocol.GroupPosition) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for i := range offsets {
		o := &offsets[i]
		at := o.At()
		if o.Offset < j.high[at] && j.killedLocked(now) {
			j.high[at] = o.Offset
		}
		if o.Offset < j.high[at] {
			j.faultLocked("committed offset of %s went back from %d to %d", at, j.high[at], o.Offset)
		}
		if o.Offset > j.high[at] {
			j.early = append(j.early, early{at, j.high[at], o.Offset, now})
			j.high[at] = o.Offset
		}
	}
	j.early = slices.DeleteFunc(j.early, func(e early) bool {
		for e.from < e.to && len(j.processed[e.at][e.from]) > 0 {
			e.from++
		}
		if e.from == e.to {
			return true
		}
		late := now.Sub(e.since) > hearing
		if late {
			j.faultLocked("committed offset of %s is %d, but %d was not processed", e.at, e.to, e.from)
		}
		return late
	})
}

// killedLocked says whether a broker was killed so shortly ago that another one may have
// taken the group over since from the mirror.
func (j *judge) killedLocked(now time.Time) bool {
	return j.mirrored > 0 && slices.ContainsFunc(j.incidents, func(n incident) bool {
		return n.what == brokerKilled && (n.ended.IsZero() || now.Before(n.ended.Add(j.mirrored)))
	})
}

// brokerKilled is the incident after which a group may begin at older offsets.
const brokerKilled = "broker killed"

// happens notes an incident, and returns what is to be called when it is over.
func (j *judge) happens(what string, now time.Time) (over func(time.Time)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.incidents = append(j.incidents, incident{what: what, began: now})
	i := len(j.incidents) - 1
	return func(now time.Time) {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.incidents[i].ended = now
	}
}

// stale notes how a commit of an older generation ended.
func (j *judge) stale(what string, refused bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !refused {
		j.faultLocked("the group took a commit of %s", what)
	}
	j.refused++
}

func (j *judge) missing() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := 0
	for v := range j.acked {
		if j.values[v] == 0 {
			n++
		}
	}
	return n
}

// verdict explains every record that came again, and returns all faults. Grace is how
// long after an incident its effects last.
func (j *judge) verdict(now time.Time, grace time.Duration) []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, e := range j.early {
		j.faultLocked("committed offset of %s is %d, but %d was not processed", e.at, e.to, e.from)
	}
	for at, offsets := range j.processed {
		for _, offset := range slices.Sorted(maps.Keys(offsets)) {
			times := slices.SortedFunc(slices.Values(offsets[offset]), time.Time.Compare)
			for i := 1; i < len(times); i++ {
				j.again++
				if !j.explainedLocked(times[i-1], times[i], now, grace) {
					j.faultLocked("offset %d of %s was processed twice, at %v and %v, and nothing had happened", offset, at, times[i-1], times[i])
				}
			}
		}
	}
	return j.faults
}

func (j *judge) explainedLocked(first, second, now time.Time, grace time.Duration) bool {
	return slices.ContainsFunc(j.incidents, func(n incident) bool {
		if n.ended.IsZero() {
			n.ended = now
		}
		return !second.Before(n.began) && !first.After(n.ended.Add(grace))
	})
}

func (j *judge) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	what := map[string]int{}
	for _, n := range j.incidents {
		what[n.what]++
	}
	return fmt.Sprintf("%d acknowledged, %d processed, %d of them again; %d stale commits refused; %v", len(j.acked), len(j.values), j.again, j.refused, what)
}

// The judge must find each of the faults that it is there for.
func TestTheJudgeFindsWhatMustNotBe(t *testing.T) {
	p0, begin := protocol.PartitionID{}, time.Unix(1000, 0)
	at := protocol.TopicPartition{Topic: "orders", Partition: p0}
	after := func(s int) time.Time { return begin.Add(time.Duration(s) * time.Second) }
	did := func(what string, offset client.Offset, s int) deed {
		return deed{What: what, Topic: "orders", Partition: p0, Offset: offset, Value: fmt.Sprint(offset), Began: after(s), Ended: after(s)}
	}
	cases := map[string]struct {
		play func(j *judge)
		want string // "" for nothing
	}{
		"an orderly hand-over": {func(j *judge) {
			j.hear("a", did("assigned", 0, 0))
			j.hear("a", did("processed", 0, 1))
			j.hear("a", did("committed", 1, 1))
			j.hear("a", did("revoked", 0, 2))
			j.hear("b", did("assigned", 0, 3))
			j.hear("b", did("processed", 1, 4))
			j.hear("b", did("committed", 2, 4))
			j.look(after(5), []protocol.GroupPosition{{Topic: "orders", Partition: p0, Offset: 2}})
		}, ""},
		"no release: two owners commit": {func(j *judge) {
			j.hear("a", did("assigned", 0, 0))
			j.hear("b", did("assigned", 0, 1))
			j.hear("b", did("committed", 1, 2))
			j.hear("a", did("committed", 1, 3))
		}, "after b had got the partition"},
		"no generation: a stale commit is taken": {func(j *judge) { j.stale("generation 3", false) }, "took a commit of generation 3"},
		"commit before processing": {func(j *judge) {
			j.look(after(0), []protocol.GroupPosition{{Topic: "orders", Partition: p0, Offset: 2}})
		}, "0 was not processed"},
		"a committed offset goes back": {func(j *judge) {
			j.high[at] = 3
			j.look(after(0), []protocol.GroupPosition{{Topic: "orders", Partition: p0, Offset: 2}})
		}, "went back from 3 to 2"},
		"a gap": {func(j *judge) {
			j.hear("a", did("assigned", 0, 0))
			j.hear("a", did("processed", 0, 1))
			j.hear("a", did("processed", 2, 1))
		}, "expected 1"},
		"work without a partition": {func(j *judge) { j.hear("a", did("processed", 0, 1)) }, "does not have"},
		"twice out of the blue": {func(j *judge) {
			j.happens("crash", after(0))(after(1))
			j.hear("a", did("assigned", 0, 0))
			j.hear("a", did("processed", 0, 5))
			j.hear("b", did("assigned", 0, 6))
			j.hear("b", did("processed", 0, 7))
		}, "nothing had happened"},
		"twice around a crash": {func(j *judge) {
			j.hear("a", did("assigned", 0, 0))
			j.hear("a", did("processed", 0, 1))
			j.happens("crash", after(2))(after(2))
			j.hear("b", did("assigned", 0, 3))
			j.hear("b", did("processed", 0, 3))
		}, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			j := newJudge()
			c.play(j)
			got := strings.Join(j.verdict(after(100), time.Second), "\n")
			if c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("faults are %q, want %q", got, c.want)
			}
		})
	}
}
