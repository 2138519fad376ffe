package group

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"metaq/client/internal/link"
	"metaq/protocol"
)

// coordinator is a link to one that answers a member by a script.
type coordinator struct {
	link.Link // nothing else is asked of it
	next      []groupStep
	over      chan struct{} // closed by the first request after the script
}

// groupStep is one request and its answer.
type groupStep struct {
	verb     string
	revision int64         // that a heartbeat is expected to know
	page     string        // that it is expected to ask for
	after    time.Duration // the answer is read so late, whatever the member waits for
	view     protocol.GroupView
	err      error
}

func (c *coordinator) Request(ctx context.Context, subject string, data []byte) ([]byte, error) {
	if len(c.next) == 0 {
		close(c.over)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	s := c.next[0]
	c.next = c.next[1:]
	var r protocol.GroupHeartbeat
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, err
	}
	if verb := subject[strings.LastIndexByte(subject, '.')+1:]; verb != s.verb || r.Revision != s.revision || r.After != s.page {
		return nil, fmt.Errorf("asked for %s after %q knowing revision %d, the script has %s after %q knowing %d", verb, r.After, r.Revision, s.verb, s.page, s.revision)
	}
	<-time.After(s.after)
	if s.err != nil {
		return protocol.EncodeError(s.err), nil
	}
	return json.Marshal(s.view)
}

// TestAnAnswerFromBeforeAPauseGivesNothing stops a process for longer than its session
// while answers are on their way to it: what they give is others' by the time that it
// resumes.
func TestAnAnswerFromBeforeAPauseGivesNothing(t *testing.T) {
	const session = 3 * time.Second
	view := func(member string, revision int64, parts ...int) protocol.GroupView {
		v := protocol.GroupView{Member: member, Generation: revision, Revision: revision}
		for _, n := range parts {
			v.Assigned = append(v.Assigned, protocol.GroupPosition{Topic: "t", Partition: protocol.PartitionID{N: n}})
		}
		return v
	}
	for name, c := range map[string]struct {
		script []groupStep
		want   []string
	}{
		"of a heartbeat": {
			[]groupStep{
				{verb: "join", view: view("a", 1, 0)},
				{verb: "heartbeat", revision: 1, after: session, view: view("a", 2, 0, 1)},
				{verb: "heartbeat", revision: afresh, err: protocol.ErrNoMember},
				{verb: "join", view: view("b", 5, 2)},
			},
			[]string{"a has 1", "lost", "lost", "b has 1"},
		},
		"of a heartbeat, and nobody noticed": {
			[]groupStep{
				{verb: "join", view: view("a", 1, 0)},
				{verb: "heartbeat", revision: 1, after: session, view: view("a", 2, 0, 1)},
				{verb: "heartbeat", revision: afresh, view: view("a", 2, 0, 1)},
			},
			[]string{"a has 1", "lost", "a has 2"},
		},
		"of a join": {
			[]groupStep{
				{verb: "join", after: session, view: view("a", 1, 0)},
				{verb: "heartbeat", revision: afresh, view: view("a", 2, 0, 1)},
			},
			[]string{"a has 2"},
		},
		"none": {
			[]groupStep{
				{verb: "join", view: view("a", 1, 0)},
				{verb: "heartbeat", revision: 1, after: session - 1, view: view("a", 2, 0, 1)},
			},
			[]string{"a has 1", "a has 2"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var got []string
				script := &coordinator{next: c.script, over: make(chan struct{})}
				m := NewMembership(link.NewCaller(script, ""), slog.New(slog.DiscardHandler), "g", protocol.GroupJoin{SessionMs: int(session.Milliseconds())}, Callbacks{
					Changed: func(v protocol.GroupView) { got = append(got, fmt.Sprintf("%s has %d", v.Member, len(v.Assigned))) },
					Lost:    func(context.Context) { got = append(got, "lost") },
				})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if err := m.Enter(ctx); err != nil {
					t.Fatal(err)
				}
				ended := make(chan error, 1)
				go func() { ended <- m.Run(ctx) }()
				select {
				case <-script.over:
				case <-time.After(time.Hour):
					t.Error("the script has not come to its end")
				}
				cancel()
				if err := <-ended; err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(c.want, got); d != "" {
					t.Error(d)
				}
			})
		})
	}
}

// TestAReplacedStaticMemberDoesNotJoinAgain lets a newer process take the member's place: it
// stops its work and ends, or the two would put each other out for ever.
func TestAReplacedStaticMemberDoesNotJoinAgain(t *testing.T) {
	var got []string
	script := &coordinator{over: make(chan struct{}), next: []groupStep{
		{verb: "join", view: protocol.GroupView{Member: "a", Generation: 1, Revision: 1}},
		{verb: "heartbeat", revision: 1, err: protocol.ErrInstance},
	}}
	join := protocol.GroupJoin{Instance: "i", SessionMs: 3000}
	m := NewMembership(link.NewCaller(script, ""), slog.New(slog.DiscardHandler), "g", join, Callbacks{
		Changed: func(v protocol.GroupView) { got = append(got, v.Member) },
		Lost:    func(context.Context) { got = append(got, "lost") },
	})
	if err := m.Enter(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := m.Run(t.Context()); !errors.Is(err, protocol.ErrInstance) {
		t.Errorf("it ended with %v", err)
	}
	if d := cmp.Diff([]string{"a", "lost"}, got); d != "" {
		t.Error(d)
	}
}

// TestAViewThatChangesBetweenItsPagesIsReadAgain gives a member one page of one view and then
// another view: it goes by no mixture of both.
func TestAViewThatChangesBetweenItsPagesIsReadAgain(t *testing.T) {
	page := func(revision int64, part int, next string) protocol.GroupView {
		return protocol.GroupView{
			Member: "a", Generation: 1, Revision: revision, Next: next,
			Assigned: []protocol.GroupPosition{{Topic: "t", Partition: protocol.PartitionID{N: part}}},
		}
	}
	script := &coordinator{over: make(chan struct{}), next: []groupStep{
		{verb: "join", view: page(1, 0, "x")},
		{verb: "heartbeat", page: "x", view: page(2, 5, "y")},
		{verb: "heartbeat", view: page(2, 1, "x")},
		{verb: "heartbeat", page: "x", view: page(2, 2, "y")},
		{verb: "heartbeat", page: "y", view: page(2, 3, "")},
	}}
	var got []string
	m := NewMembership(link.NewCaller(script, ""), slog.New(slog.DiscardHandler), "g", protocol.GroupJoin{SessionMs: 3000}, Callbacks{
		Changed: func(v protocol.GroupView) {
			for i := range v.Assigned {
				got = append(got, v.Assigned[i].Partition.String())
			}
		},
	})
	if err := m.Enter(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"0-1", "0-2", "0-3"}, got); d != "" {
		t.Error(d)
	}
}
