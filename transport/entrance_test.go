package transport

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/nats-io/nats.go"

	"metaq/actors"
	"metaq/protocol"
)

// No client stands among those who answer requests, whatever it subscribes to and in whatever
// queue group; who watches gets a copy of each, without a place for an answer.
func TestNoClientAnswersRequests(t *testing.T) {
	r := newRig(t, nil)
	r.adminActors()
	r.actorNamed(actors.GroupsActor, func(ctx actor.Context) {
		if request, ok := ctx.Message().(*actors.GroupRequest); ok {
			request.Ticket.Release()
			ctx.Respond(protocol.GroupInfo{})
		}
	})
	rogue, err := nats.Connect("nats://" + r.server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer rogue.Close()
	copies := make(chan *nats.Msg, 1000)
	for _, queue := range []string{"", "q", "metaq"} {
		if _, err := rogue.QueueSubscribe("metaq.>", queue, func(m *nats.Msg) {
			copies <- m
			if m.Reply != "" {
				_ = m.Respond([]byte("forged"))
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := rogue.Flush(); err != nil {
		t.Fatal(err)
	}
	requests := 0
	for range 20 {
		for subject, body := range map[string]string{
			"metaq.put.t.0-0": "x", "metaq.get.t.0-0": "", "metaq.offsets.t.0-0": "", "metaq.batch.t.0-0": "x",
			"metaq.group.g.info": "", "metaq.admin.topic.ls": "",
		} {
			requests++
			if answer := r.ask(subject, nil, body); answer == "forged" {
				t.Fatalf("%s was answered by a client", subject)
			}
		}
	}
	for range 3 * requests { // each subscription is another group
		select {
		case m := <-copies:
			if m.Reply != "" {
				t.Fatalf("a copy of %s has the reply subject %s", m.Subject, m.Reply)
			}
		case <-time.After(patience):
			t.Fatal("a copy is missing")
		}
	}
	if answer := r.ask("metaq.admin.no.such", nil, ""); answer != "no responders" {
		t.Errorf("what nobody serves: %s", answer)
	}
}

// An answer goes where it is wanted, also when that is another connection or a queue group.
func TestAnswersForOthersGoByTheServer(t *testing.T) {
	r := newRig(t, nil)
	other, err := nats.Connect("nats://" + r.server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	sub, err := other.QueueSubscribeSync("somebody.else", "g")
	if err := errors.Join(err, other.Flush()); err != nil {
		t.Fatal(err)
	}
	for subject, code := range map[string]int{
		"metaq.put.t.0-0": 0, "metaq.put.none.0-0": 404, "metaq.batch.t.0-0": 400, "metaq.get.t": 400,
		"metaq.group.g.no": 400, "metaq.admin.topic.create": 400,
	} {
		if err := r.asker.nc.PublishRequest(subject, "somebody.else", []byte("x")); err != nil {
			t.Fatal(err)
		}
		m, err := sub.NextMsg(patience)
		if err != nil {
			t.Fatalf("%s: %v", subject, err)
		}
		if codeOf(t, string(m.Data)) != code {
			t.Errorf("%s: %s", subject, m.Data)
		}
	}
}

// Who sends requests whose answers go by NATS is not read from while many of those wait:
// nothing is dropped.
func TestWhoseAnswersGoByNATSWaitsForThem(t *testing.T) {
	before := fewLetters
	t.Cleanup(func() { fewLetters = before })
	fewLetters.Requests = 10
	goOn := make(chan struct{})
	w := startWriter(func(*letter) { <-goOn })
	for i := range 12 { // one is being sent
		w.add(&letter{reply: fmt.Sprint(i)})
	}
	waits := make(chan struct{})
	go func() {
		w.room()
		close(waits)
	}()
	for n := range 11 {
		if n < 1 {
			select {
			case <-waits:
				t.Error("there is room already")
			default:
			}
		}
		goOn <- struct{}{}
	}
	close(goOn)
	<-waits
	w.close()

	w = startWriter(func(*letter) {})
	defer w.close()
	fewLetters.Requests = -1
	w.letGo()
	w.room() // a gateway that stops holds nobody
}

// Discovery gives each verb of a service one answer, and counts what was asked.
func TestTheServiceCountsRequests(t *testing.T) {
	r := newRig(t, nil)
	r.adminActors()
	r.ask("metaq.admin.topic.ls", nil, "")
	r.ask("metaq.admin.topic.create", nil, "no json")
	for _, want := range []struct{ subject, text string }{
		{"$SRV.PING", `"type":"io.nats.micro.v1.ping_response"`},
		{"$SRV.STATS.metaq", `"name":"topic-create","subject":"metaq.admin.topic.create","queue_group":"","num_requests":1,"num_errors":1`},
		{"$SRV.STATS.metaq", `"name":"topic-ls","subject":"metaq.admin.topic.ls","queue_group":"","num_requests":1,"num_errors":0`},
		{"$SRV.INFO", `"subject":"metaq.admin.topic.ls"`},
	} {
		if answer := r.ask(want.subject, nil, ""); !strings.Contains(answer, want.text) {
			t.Errorf("%s: %s", want.subject, answer)
		}
	}
}
