package transport

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"metaq/protocol"
)

// What was read from one topic and is published to a subject of another has the header
// already: the new subject takes its place, and the old one is kept.
func TestASubjectThatAMessageHadBeforeIsKept(t *testing.T) {
	r := newRig(t, nil)
	r.addTopic("heard", 1, -1)
	heard := r.last()
	r.topics["heard"].Subjects = []string{"sales.>"}
	r.publishRoutes()
	if err := r.each((*nats.Conn).Flush); err != nil {
		t.Fatal(err)
	}
	old := protocol.OriginalPrefix + protocol.HeaderSubject
	for _, h := range []nats.Header{
		nil,
		{protocol.HeaderSubject: {"sales.eu"}},
		{protocol.HeaderSubject: {"old.one", "older"}, old: {"oldest"}},
	} {
		ackOf(t, r.ask("sales.eu", h, "x"))
	}
	var got [][]protocol.Header
	for _, rec := range heard.stored() {
		got = append(got, rec.Headers)
	}
	subject := protocol.Header{Name: protocol.HeaderSubject, Value: "sales.eu"}
	if d := cmp.Diff([][]protocol.Header{
		{subject},
		{subject},
		{{Name: old, Value: "oldest"}, {Name: old, Value: "old.one"}, {Name: old, Value: "older"}, subject},
	}, got); d != "" {
		t.Error(d)
	}
}
