package groups

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
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
	processed map[protocol.TopicPartition]map[client.Offset][]sighting
	runs      map[protocol.TopicPartition][]*run // in the order in which they were heard
	taken     map[protocol.TopicPartition][]taken
	high      map[protocol.TopicPartition]client.Offset
	early     []early
	incidents []incident
	again     map[string]int // records that came again, by the incident that explains it
	refused   map[string]int // stale commits, by what was wrong with them
	mirrored  time.Duration  // after a kill offsets may go back to a mirror; 0: never
	faults    []string
}

// sighting is one time that a record was processed.
type sighting struct {
	member string
	when   time.Time
}

// run is one time that a member has a partition, from when it was told so until it
// has ended all work; ended is zero before that.
type run struct {
	member       string
	began, ended time.Time
	next         client.Offset
	known        bool
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
	since    time.Time // when it was committed already
}

// incident is a time around which records may come twice.
type incident struct {
	what         string
	member       string // to whom it happened; "": to a broker, and so to all
	began, ended time.Time
}

// hearing bounds how long what a member said takes to be heard.
const hearing = 5 * time.Second

func newJudge() *judge {
	return &judge{
		acked: map[string]bool{}, values: map[string]int{}, processed: map[protocol.TopicPartition]map[client.Offset][]sighting{},
		runs: map[protocol.TopicPartition][]*run{}, taken: map[protocol.TopicPartition][]taken{}, high: map[protocol.TopicPartition]client.Offset{},
		again: map[string]int{}, refused: map[string]int{},
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
	if d.What == didStall || d.What == didExpire {
		j.suffers("member "+d.What, member, d.Began, d.Ended)
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	at := d.at()
	r := j.openLocked(at, member)
	if r == nil && d.What != "assigned" {
		j.faultLocked("%s %s offset %d of %s, which it does not have", member, d.What, d.Offset, at)
		return
	}
	switch d.What {
	case "assigned":
		if r != nil {
			j.faultLocked("%s was given %s, which it has", member, at)
		}
		j.runs[at] = append(j.runs[at], &run{member: member, began: d.Began})
	case "revoked":
		r.ended = d.Began
	case "processed":
		if r.known && d.Offset != r.next {
			j.faultLocked("%s got offset %d of %s, expected %d", member, d.Offset, at, r.next)
		}
		r.next, r.known = d.Offset+1, true
		j.values[d.Value]++
		if j.processed[at] == nil {
			j.processed[at] = map[client.Offset][]sighting{}
		}
		j.processed[at][d.Offset] = append(j.processed[at][d.Offset], sighting{member, d.Began})
	case "committed":
		j.takeLocked(at, taken{member: member, assigned: r.began, began: d.Began, ended: d.Ended})
		j.committedLocked(at, d.Offset, d.Ended)
	}
}

// openLocked is the run of a partition that a member is in, or nil.
func (j *judge) openLocked(at protocol.TopicPartition, member string) *run {
	for _, r := range slices.Backward(j.runs[at]) {
		if r.member == member && r.ended.IsZero() {
			return r
		}
	}
	return nil
}

// dead ends the runs of a member whose process has ended without a word.
func (j *judge) dead(member string, now time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for at := range j.runs {
		if r := j.openLocked(at, member); r != nil {
			r.ended = now
		}
	}
}

// workers are the members that work on a partition, as they say.
func (j *judge) workers() map[protocol.TopicPartition][]string {
	j.mu.Lock()
	defer j.mu.Unlock()
	all := map[protocol.TopicPartition][]string{}
	for at, runs := range j.runs {
		for _, r := range runs {
			if r.ended.IsZero() {
				all[at] = append(all[at], r.member)
			}
		}
	}
	return all
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

// look takes the offsets that the group says are committed.
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
		j.committedLocked(at, o.Offset, now)
		j.high[at] = max(j.high[at], o.Offset)
	}
	j.hearOutLocked(now)
}

// committedLocked notes that what is below an offset must have been processed by
// then.
func (j *judge) committedLocked(at protocol.TopicPartition, offset client.Offset, by time.Time) {
	if from := j.high[at]; offset > from {
		j.early = append(j.early, early{at, from, offset, by})
	}
}

// hearOutLocked compares committed offsets with what was processed before. Members had
// a while to be heard.
func (j *judge) hearOutLocked(now time.Time) {
	j.early = slices.DeleteFunc(j.early, func(e early) bool {
		inTime := func(s sighting) bool { return !s.when.After(e.since) }
		for e.from < e.to && slices.ContainsFunc(j.processed[e.at][e.from], inTime) {
			e.from++
		}
		if e.from == e.to {
			return true
		}
		late := now.Sub(e.since) > hearing
		if late {
			j.faultLocked("committed offset of %s was %d when %d was not processed", e.at, e.to, e.from)
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
func (j *judge) happens(what, member string, now time.Time) (over func(time.Time)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.incidents = append(j.incidents, incident{what: what, member: member, began: now})
	i := len(j.incidents) - 1
	return func(now time.Time) {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.incidents[i].ended = now
	}
}

// stale notes how a commit ended that must be refused.
func (j *judge) stale(what string, refused bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !refused {
		j.faultLocked("the group took a commit of %s", what)
	}
	j.refused[what]++
}

// missing are values that were acknowledged and not processed, sorted.
func (j *judge) missing() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.missingLocked()
}

func (j *judge) missingLocked() []string {
	var values []string
	for v := range j.acked {
		if j.values[v] == 0 {
			values = append(values, v)
		}
	}
	slices.Sort(values)
	return values
}

// verdict explains every record that came again and every partition that two members
// worked on, and returns all faults. Grace is how long after an incident its effects
// last, and how long before it a record may have been processed without a commit.
func (j *judge) verdict(now time.Time, grace time.Duration) []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	if missing := j.missingLocked(); len(missing) > 0 {
		j.faultLocked("%d acknowledged records were not processed, the first is %s", len(missing), missing[0])
	}
	j.hearOutLocked(now.Add(2 * hearing))
	for at, offsets := range j.processed {
		for _, offset := range slices.Sorted(maps.Keys(offsets)) {
			seen := slices.SortedFunc(slices.Values(offsets[offset]), func(a, b sighting) int { return a.when.Compare(b.when) })
			for i := 1; i < len(seen); i++ {
				a, b := seen[i-1], seen[i]
				why := j.whyLocked([]string{a.member, b.member}, a.when, b.when, now, grace)
				if why == "" {
					j.faultLocked("offset %d of %s was processed twice, by %s at %v and by %s at %v, and nothing had happened to them",
						offset, at, a.member, a.when, b.member, b.when)
					why = "for no reason"
				}
				j.again[why]++
			}
		}
	}
	for at, runs := range j.runs {
		for i, a := range runs {
			for _, b := range runs[i+1:] {
				a, b := a, b
				if b.began.Before(a.began) {
					a, b = b, a
				}
				if a.member == b.member || !a.ended.IsZero() && !a.ended.After(b.began) {
					continue
				}
				if j.whyLocked([]string{a.member}, b.began, b.began, now, grace) == "" {
					j.faultLocked("%s was given %s at %v, while %s worked on it and nothing had happened", b.member, at, b.began, a.member)
				}
			}
		}
	}
	return j.faults
}

// whyLocked is the incident that explains what was done at two times by these
// members, or "". One that happened to a member is better than one that happened to all.
func (j *judge) whyLocked(members []string, first, second, now time.Time, grace time.Duration) string {
	why := ""
	for _, n := range j.incidents {
		if n.ended.IsZero() {
			n.ended = now
		}
		if second.Before(n.began) || first.After(n.ended.Add(grace)) || first.Before(n.began.Add(-grace)) {
			continue
		}
		if slices.Contains(members, n.member) {
			return n.what
		}
		if n.member == "" {
			why = n.what
		}
	}
	return why
}

// String is the figures of a run.
func (j *judge) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	happened := map[string]int{}
	for _, n := range j.incidents {
		happened[n.what]++
	}
	assigned, again := 0, 0
	for _, runs := range j.runs {
		assigned += len(runs)
	}
	for _, n := range j.again {
		again += n
	}
	return fmt.Sprintf("%d acknowledged, %d processed, %d of them again (%s); %d assignments; stale commits refused: %s; incidents: %s",
		len(j.acked), len(j.values), again, list(j.again), assigned, list(j.refused), list(happened))
}

// list is "3 apples, 2 pears".
func list(counts map[string]int) string {
	var words []string
	for _, what := range slices.Sorted(maps.Keys(counts)) {
		words = append(words, fmt.Sprintf("%d %s", counts[what], what))
	}
	return strings.Join(words, ", ")
}
