package groups

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"metaq/client"
	"metaq/protocol"
)

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
			j.ack("0")
			j.ack("1")
			j.look(after(5), []protocol.GroupPosition{{Topic: "orders", Partition: p0, Offset: 2}})
		}, ""},
		"no release: two owners commit": {func(j *judge) {
			j.happens("broker killed", "", after(0))(after(10)) // no excuse
			j.hear("a", did("assigned", 0, 0))
			j.hear("b", did("assigned", 0, 1))
			j.hear("b", did("processed", 0, 1))
			j.hear("b", did("committed", 1, 2))
			j.hear("a", did("committed", 1, 3))
		}, "after b had got the partition"},
		"no release: two members at work": {func(j *judge) {
			j.hear("b", did("assigned", 0, 1))
			j.hear("a", did("assigned", 0, 0)) // heard late
			j.hear("a", did("revoked", 0, 2))
		}, "b was given orders 0-0 at"},
		"two members at work, the first one paused": {func(j *judge) {
			j.happens("pause", "a", after(1))(after(3))
			j.hear("a", did("assigned", 0, 0))
			j.hear("b", did("assigned", 0, 2))
			j.hear("a", did("revoked", 0, 3))
		}, ""},
		"two members at work, a third one paused": {func(j *judge) {
			j.happens("pause", "c", after(1))(after(3))
			j.hear("a", did("assigned", 0, 0))
			j.hear("b", did("assigned", 0, 2))
			j.hear("a", did("revoked", 0, 3))
		}, "while a worked on it"},
		"a partition of a dead member": {func(j *judge) {
			j.hear("a", did("assigned", 0, 0))
			j.dead("a", after(1))
			j.hear("b", did("assigned", 0, 2))
		}, ""},
		"a partition twice": {func(j *judge) {
			j.hear("a", did("assigned", 0, 0))
			j.hear("a", did("assigned", 0, 1))
		}, "a was given orders 0-0, which it has"},
		"an acknowledged record is lost": {func(j *judge) {
			j.ack("8")
			j.ack("7")
		}, "2 acknowledged records were not processed, the first is 7"},
		"no generation: a stale commit is taken": {func(j *judge) { j.stale("generation 3", false) }, "took a commit of generation 3"},
		"commit before processing": {func(j *judge) {
			j.look(after(0), []protocol.GroupPosition{{Topic: "orders", Partition: p0, Offset: 2}})
		}, "was 2 when 0 was not processed"},
		"commit before processing, which follows": {func(j *judge) {
			j.look(after(0), []protocol.GroupPosition{{Topic: "orders", Partition: p0, Offset: 1}})
			j.hear("a", did("assigned", 0, 0))
			j.hear("a", did("processed", 0, 1))
		}, "was 1 when 0 was not processed"},
		"a member commits before processing": {func(j *judge) {
			j.hear("a", did("assigned", 0, 0))
			j.hear("a", did("committed", 1, 1))
			j.hear("a", did("processed", 0, 2))
		}, "was 1 when 0 was not processed"},
		"a word about a record that comes after the look": {func(j *judge) {
			j.look(after(2), []protocol.GroupPosition{{Topic: "orders", Partition: p0, Offset: 1}})
			j.hear("a", did("assigned", 0, 0))
			j.hear("a", did("processed", 0, 1))
		}, ""},
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
			j.happens("crash", "", after(0))(after(1))
			j.hear("a", did("assigned", 0, 0))
			j.hear("a", did("processed", 0, 5))
			j.hear("a", did("revoked", 0, 6))
			j.hear("b", did("assigned", 0, 6))
			j.hear("b", did("processed", 0, 7))
		}, "nothing had happened"},
		"twice around a crash": {func(j *judge) {
			j.hear("a", did("assigned", 0, 0))
			j.hear("a", did("processed", 0, 1))
			j.happens("crash", "a", after(2))(after(2))
			j.dead("a", after(2))
			j.hear("b", did("assigned", 0, 3))
			j.hear("b", did("processed", 0, 3))
		}, ""},
		"twice around the crash of another member": {func(j *judge) {
			j.hear("a", did("assigned", 0, 0))
			j.hear("a", did("processed", 0, 1))
			j.hear("a", did("revoked", 0, 2))
			j.happens("crash", "c", after(2))(after(2))
			j.hear("b", did("assigned", 0, 3))
			j.hear("b", did("processed", 0, 3))
		}, "nothing had happened"},
		"twice around a stall": {func(j *judge) {
			j.hear("a", did("assigned", 0, 0))
			j.hear("a", did("processed", 0, 1))
			j.hear("a", deed{What: didStall, Began: after(2), Ended: after(3)})
			j.hear("a", did("revoked", 0, 3))
			j.hear("b", did("assigned", 0, 3))
			j.hear("b", did("processed", 0, 3))
		}, ""},
		"twice around the end of a session": {func(j *judge) {
			j.hear("a", did("assigned", 0, 0))
			j.hear("a", did("processed", 0, 1))
			j.hear("a", deed{What: didExpire, Began: after(1), Ended: after(2)})
			j.hear("a", did("revoked", 0, 3))
			j.hear("b", did("assigned", 0, 3))
			j.hear("b", did("processed", 0, 3))
		}, ""},
		"twice around a stall of another member": {func(j *judge) {
			j.hear("a", did("assigned", 0, 0))
			j.hear("a", did("processed", 0, 1))
			j.hear("c", deed{What: didStall, Began: after(2), Ended: after(3)})
			j.hear("a", did("revoked", 0, 2))
			j.hear("b", did("assigned", 0, 3))
			j.hear("b", did("processed", 0, 3))
		}, "nothing had happened"},
		"twice, long before a crash": {func(j *judge) {
			j.hear("a", did("assigned", 0, 0))
			j.hear("a", did("processed", 0, 1))
			j.happens("crash", "a", after(9))(after(9))
			j.dead("a", after(9))
			j.hear("b", did("assigned", 0, 10))
			j.hear("b", did("processed", 0, 10))
		}, "nothing had happened"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			j := newJudge()
			c.play(j)
			got := strings.Join(j.verdict(after(100), time.Second), "\n")
			if c.want == "" && got != "" || !strings.Contains(got, c.want) || strings.Contains(got, "\n") {
				t.Errorf("faults are %q, want %q alone", got, c.want)
			}
		})
	}
}
