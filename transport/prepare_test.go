package transport

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"metaq/protocol"
)

// dearBatch grows to a hundred times its size and more.
func dearBatch(t *testing.T) string {
	t.Helper()
	var bb protocol.BatchBuilder
	for range 300 {
		if err := bb.Add(&protocol.Record{Value: bytes.Repeat([]byte("a"), 900)}); err != nil {
			t.Fatal(err)
		}
	}
	b := bb.Encode(protocol.CompressionZstd, protocol.Producer{ID: protocol.NoProducer})
	if !dear(b) {
		t.Fatalf("%d bytes are not dear", len(b))
	}
	return string(b)
}

// occupy takes every place in which a dear batch is decompressed, until release.
func (r *rig) occupy() (release func()) {
	for range cap(r.checking) {
		r.checking <- struct{}{}
	}
	return func() {
		for range cap(r.checking) {
			<-r.checking
		}
	}
}

// A batch that grows much is checked aside: it holds up what follows it for its topic, so that
// the order holds, and nobody else.
func TestADearBatchHoldsUpItsTopicOnly(t *testing.T) {
	r := newRig(t, external(t))
	release := r.occupy()
	batch := r.request("metaq.batch.t.0-0", nil, dearBatch(t))
	put := r.request("metaq.put.t.0-0", nil, "behind it")
	again := r.request("metaq.batch.t.0-0", nil, dearBatch(t))
	last := r.request("metaq.put.t.0-0", nil, "last")
	ackOf(t, r.ask("metaq.put.small", nil, "x"))
	r.ask("metaq.get.t.0-0", nil, "")
	for _, token := range []string{batch, put, again, last} {
		if r.got[token] != nil {
			t.Errorf("request %s was answered before the batch was checked", token)
		}
	}
	release()
	for _, token := range []string{batch, put, again, last} {
		m := <-r.asker.answers
		if want := r.inbox + "." + token; m.Subject != want {
			t.Errorf("%s was answered, not %s", m.Subject, want)
		}
		ackOf(t, string(m.Data))
		r.got[token] = append(r.got[token], m.Data)
	}
	if n := r.metric("metaq_inflight_bytes"); n != 0 {
		t.Errorf("%v bytes are still counted", n)
	}
}

// The same of a client whose socket ends in the front: its own connection waits.
func TestADearBatchHoldsUpItsConnectionOnly(t *testing.T) {
	r := newRig(t, nil)
	release := r.occupy()
	other := newAsker(t, r.server.nats.ClientURL())
	defer other.nc.Close()
	batch := r.request("metaq.batch.t.0-0", nil, dearBatch(t))
	put := r.request("metaq.put.t.0-0", nil, "behind it")
	ackOf(t, other.ask("metaq.put.t.0-0", nil, "of another one"))
	if len(r.asker.answers) > 0 {
		t.Error("the batch was not waited for")
	}
	release()
	for _, token := range []string{batch, put} {
		m := <-r.asker.answers
		if want := r.inbox + "." + token; m.Subject != want {
			t.Errorf("%s was answered, not %s", m.Subject, want)
		}
		ackOf(t, string(m.Data))
		r.got[token] = append(r.got[token], m.Data)
	}
}

// What waits for its check when the broker stops is refused, so that the stop waits for nobody.
func TestABrokerThatStopsChecksNothingMore(t *testing.T) {
	r := newRig(t, nil)
	release := r.occupy()
	defer release()
	batch, got := []byte(dearBatch(t)), make(chan *prepared, 1)
	go func() { got <- r.checkSent("metaq.batch.t.0-0", batch) }()
	if err := r.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	if p := <-got; p == nil || !errors.Is(p.err, protocol.ErrUnavailable) {
		t.Errorf("%+v", p)
	}
}

// A batch counts as what it grows to, wherever it is.
func TestABatchCountsAsWhatItGrowsTo(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Partition = Limits{Requests: 100, Bytes: 600_000} })
	r.parts[0].holdBack()
	held := []string{r.request("metaq.batch.t.0-0", nil, dearBatch(t)), r.request("metaq.batch.t.0-0", nil, dearBatch(t))}
	if answer := r.ask("metaq.batch.t.0-0", nil, dearBatch(t)); codeOf(t, answer) != 429 {
		t.Errorf("the third: %s", answer)
	}
	r.parts[0].release()
	for _, token := range held {
		ackOf(t, string(r.wait(token)))
	}
}

// Header blocks have limits of their own, since a map of them is many times their size.
func TestALargeHeaderBlockIsRefused(t *testing.T) {
	long := nats.Header{"A": {strings.Repeat("a", 70<<10)}}
	many := nats.Header{}
	for i := range 256 {
		many.Set(fmt.Sprintf("N%03d", i), "1")
	}
	for _, name := range []string{"of the front", "of an existing deployment"} {
		t.Run(name, func(t *testing.T) {
			subjects := []string{"metaq.put.t.0-0", "metaq.batch.t.0-0", "metaq.get.t.0-0", "metaq.group.g.info", "metaq.admin.topic.ls"}
			deploy := func(*Options) {}
			if name == "of an existing deployment" {
				deploy, subjects = external(t), subjects[:4] // the library's service does not show the size
			}
			r := newRig(t, func(o *Options) {
				deploy(o)
				o.MaxMessage = func(string) int { return 10_000 }
			})
			ackOf(t, r.ask("metaq.put.t.0-1", many, "256"))
			for i, h := range r.parts[1].stored()[0].Headers {
				if h.Name != fmt.Sprintf("N%03d", i) || h.Value != "1" {
					t.Fatalf("header %d is %v", i, h)
				}
			}
			for _, subject := range subjects {
				if answer := r.ask(subject, long, "x"); codeOf(t, answer) != 413 || !strings.Contains(answer, "65536") {
					t.Errorf("%s with a long header: %s", subject, answer)
				}
			}
			more := maps.Clone(many)
			more["Z"] = []string{"1"}
			if answer := r.ask("metaq.put.t.0-0", more, "x"); codeOf(t, answer) != 413 || !strings.Contains(answer, "256") {
				t.Errorf("many headers: %s", answer)
			}
			ackOf(t, r.ask("metaq.put.t.0-0", nats.Header{"A": {"1"}}, "x"))
		})
	}
}
