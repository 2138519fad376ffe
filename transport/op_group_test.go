package transport

import (
	"errors"
	"strings"
	"testing"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/google/go-cmp/cmp"

	"metaq/actors"
	"metaq/protocol"
)

func TestGroupRequestsAreDecodedAndChecked(t *testing.T) {
	joined := protocol.GroupJoin{
		Topics: []string{"a", "b"}, SessionMs: protocol.DefaultSessionMs, ReleaseMs: protocol.DefaultReleaseMs,
	}
	for _, tt := range []struct {
		name, verb, body string
		want             any
		refused          *protocol.Error
	}{
		{"join", "join", `{"topics":["b","a"]}`, joined, nil},
		{"heartbeat", "heartbeat", `{"member":"m","generation":3}`, protocol.GroupHeartbeat{Member: "m", Generation: 3}, nil},
		{"leave", "leave", `{"member":"m"}`, protocol.GroupLeave{Member: "m"}, nil},
		{"leave of an instance", "leave", `{"instance":"i"}`, protocol.GroupLeave{Instance: "i"}, nil},
		{"leave of nobody", "leave", `{}`, nil, protocol.ErrBadRequest},
		{"leave of two", "leave", `{"member":"m","instance":"i"}`, nil, protocol.ErrBadRequest},
		{"commit", "commit", `{"member":"m","offsets":[{"topic":"t","partition":"0-1","offset":5}]}`, protocol.GroupCommit{
			Member: "m", Offsets: []protocol.GroupPosition{{Topic: "t", Partition: protocol.PartitionID{N: 1}, Offset: 5}},
		}, nil},
		{"reset", "reset", `{"topic":"t","to":{"at":"latest"}}`, protocol.GroupReset{Topic: "t", To: protocol.GroupPlace{At: "latest"}}, nil},
		{"info without a body", "info", ``, actors.GroupDescribe{}, nil},
		{"offsets", "offsets", `{}`, actors.GroupCommitted{}, nil},
		{"info with a negative limit", "info", `{"limit":-1}`, nil, protocol.ErrBadRequest},
		{"heartbeat for a page", "heartbeat", `{"member":"m","wait_ms":9,"after":"release:t/0-1"}`, protocol.GroupHeartbeat{Member: "m", After: "release:t/0-1"}, nil},
		{"heartbeat for no page", "heartbeat", `{"member":"m","after":"a b"}`, nil, protocol.ErrBadRequest},
		{"delete", "delete", `{"force":true}`, protocol.GroupDelete{Force: true}, nil},
		{"unknown verb", "jion", `{}`, nil, protocol.ErrBadName},
		{"unknown field", "commit", `{"members":"m"}`, nil, protocol.ErrBadRequest},
		{"no topics", "join", `{}`, nil, protocol.ErrBadRequest},
		{"reset to nowhere", "reset", `{"topic":"t"}`, nil, protocol.ErrBadRequest},
		{"bad partition", "commit", `{"offsets":[{"topic":"t","partition":"3"}]}`, nil, protocol.ErrBadRequest},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, page, err := groupRequest("g", tt.verb, []byte(tt.body))
			if tt.refused != nil {
				if !errors.Is(err, tt.refused) {
					t.Errorf("error is %v, want %v", err, tt.refused)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if beat, is := got.(protocol.GroupHeartbeat); is && page.After != beat.After {
				t.Errorf("page %+v is asked for", page)
			}
		})
	}
	if _, _, err := groupRequest("a b", "info", nil); !errors.Is(err, protocol.ErrBadName) {
		t.Errorf("bad name: %v", err)
	}
	if _, _, err := groupRequest("g", "commit", make([]byte, maxCommitSize+1)); !errors.Is(err, protocol.ErrTooLarge) {
		t.Errorf("large body: %v", err)
	}
}

// A group that is refused as busy is told what is busy: its requests are no partition's.
func TestAFloodOfGroupRequestsIsNotBlamedOnAPartition(t *testing.T) {
	a := newGroupsAccount()
	if err := a.admit(int(groupsInFlight.Requests), 1); err != nil {
		t.Fatal(err)
	}
	err := a.admit(1, 1)
	if !errors.Is(err, protocol.ErrBusy) || !strings.Contains(err.Error(), "requests to groups") {
		t.Errorf("refusal is %v", err)
	}
}

// What a client has under way of requests to groups is bounded, but for heartbeats that wait for
// news: one connection may serve thousands of members.
func TestAConnectionsGroupRequestsAreBoundedButForParkedHeartbeats(t *testing.T) {
	type asked struct {
		*actors.GroupRequest
		by *actor.PID
	}
	r := newRig(t, nil)
	came := make(chan asked, 4*groupShare)
	r.actorNamed(actors.GroupsActor, func(ctx actor.Context) {
		if m, ok := ctx.Message().(*actors.GroupRequest); ok {
			if m.Looked != nil {
				m.Looked()
			}
			came <- asked{m, ctx.Sender()}
		}
	})
	answer := func(a asked) {
		a.Ticket.Release()
		r.system.Root.Send(a.by, protocol.Done{})
	}
	var waiting []asked
	for range 2 * groupShare {
		r.request("metaq.group.g.heartbeat", nil, `{"member":"m","generation":1,"wait_ms":30000}`)
		waiting = append(waiting, <-came)
	}
	for range groupShare + 1 {
		r.request("metaq.group.g.join", nil, `{"topics":["t"]}`)
	}
	for range groupShare {
		waiting = append(waiting, <-came)
	}
	eventually(t, "the connection is held", func() bool { return r.metric("metaq_clients_held") == 1 })
	other := newAsker(t, r.asker.nc.ConnectedUrl())
	defer other.nc.Close()
	token := other.request("metaq.group.other.info", nil, "")
	one := <-came
	if one.Group != "other" {
		t.Fatalf("a request for group %s came, beyond the connection's share", one.Group)
	}
	answer(one)
	other.wait(token)
	if n := r.metric("metaq_clients_held"); n != 1 {
		t.Errorf("%v connections are held, want 1", n)
	}
	for _, one := range waiting {
		answer(one)
	}
	answer(<-came)
	eventually(t, "no connection is held", func() bool { return r.metric("metaq_clients_held") == 0 })
}
