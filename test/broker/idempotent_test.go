package broker

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"metaq/protocol"
)

// TestAProducersBatchesKeepTheirOrder: over the wire, a batch that comes again is
// answered as the first time, also after a restart, and what does not continue
// the producer's sequence is refused with a reason.
func TestAProducersBatchesKeepTheirOrder(t *testing.T) {
	b := start(t, options{})
	b.create("t", 1)
	for _, step := range []struct {
		name    string
		batch   string // producer/epoch/sequence
		want    string
		restart bool
	}{
		{
			name: "a producer that is not known begins with 0", batch: "7/0/1",
			want: "409 20014 producer 7 is not known here and sent sequence 1: begin at sequence 0 under a new epoch",
		},
		{name: "the first", batch: "7/0/0", want: "at 0"},
		{
			name: "a gap", batch: "7/0/2",
			want: "409 20006 out of order sequence: producer 7 sent 2 in epoch 0, the next one is 1",
		},
		{name: "the second", batch: "7/0/1", want: "at 1"},
		{name: "again", batch: "7/0/0", want: "at 0 again"},
		{name: "again after a restart", batch: "7/0/1", want: "at 1 again", restart: true},
		{
			name: "a gap after a restart", batch: "7/0/4",
			want: "409 20006 out of order sequence: producer 7 sent 4 in epoch 0, the next one is 2",
		},
		{
			name: "a new epoch begins with 0", batch: "7/1/2",
			want: "409 20006 out of order sequence: producer 7 begins epoch 1 with 2, not with 0",
		},
		{name: "the new epoch", batch: "7/1/0", want: "at 2"},
		{
			name: "an old epoch", batch: "7/0/2",
			want: "409 20007 producer 7 has epoch 1, the batch has 0: another instance took over",
		},
		{
			name: "an old epoch after a restart", batch: "7/0/2", restart: true,
			want: "409 20007 producer 7 has epoch 1, the batch has 0: another instance took over",
		},
		{name: "the new epoch goes on", batch: "7/1/1", want: "at 3"},
	} {
		if step.restart {
			dir := b.dir
			b.stop()
			b = start(t, options{dir: dir})
		}
		var p protocol.Producer
		if _, err := fmt.Sscanf(step.batch, "%d/%d/%d", &p.ID, &p.Epoch, &p.Sequence); err != nil {
			t.Fatal(err)
		}
		var bb protocol.BatchBuilder
		if err := bb.Add(&protocol.Record{Time: 1000, Value: []byte(step.batch)}); err != nil {
			t.Fatal(err)
		}
		token := b.request("metaq.batch.t.0-0", nil, bb.Encode(protocol.CompressionNone, p))
		var got string
		if err := protocol.DecodeError(b.wait(token).Data); err != nil {
			e := protocol.AsError(err)
			got = fmt.Sprintf("%d %d %s", e.Code, e.ErrCode, e.Description)
		} else {
			ack := b.ack(token)
			got = fmt.Sprintf("at %d", ack.Offset)
			if ack.Duplicate {
				got += " again"
			}
		}
		if got != step.want {
			t.Errorf("%s: %s\nwant %s", step.name, got, step.want)
		}
	}
	if d := cmp.Diff([]string{"7/0/0", "7/0/1", "7/1/0", "7/1/1"}, values(b.all("t", "0-0"))); d != "" {
		t.Error(d)
	}
}

// TestEachProducerGetsAnotherID, also from the broker's next start.
func TestEachProducerGetsAnotherID(t *testing.T) {
	b := start(t, options{})
	seen := make(map[int64]bool)
	for i := range 30 {
		if i%10 == 9 {
			dir := b.dir
			b.stop()
			b = start(t, options{dir: dir})
		}
		var g protocol.ProducerGrant
		b.askJSON("metaq.admin.producer.id", "", &g)
		if g.Producer < 1<<50 || g.Producer >= 1<<52 || g.Epoch != 0 || seen[g.Producer] {
			t.Fatalf("the %d-th id: %+v", i, g)
		}
		seen[g.Producer] = true
	}
}
