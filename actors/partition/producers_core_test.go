package partition

import (
	"errors"
	"math"
	"testing"

	"github.com/asynkron/protoactor-go/actor"

	"metaq/protocol"
)

func TestSequencesGoOnFromTheLargestAtZero(t *testing.T) {
	ps := newProducers(10)
	h := &protocol.BatchHeader{ProducerID: 9, BaseSequence: math.MaxInt32 - 1, Count: 2}
	ps.add(h, 5, 0, 0) // as the log's end tells
	for _, c := range []struct {
		sequence int32
		want     error
	}{{0, nil}, {1, protocol.ErrConflict}} {
		next := &protocol.BatchHeader{ProducerID: 9, BaseSequence: c.sequence, Count: 1}
		if _, duplicate, err := ps.check(next, 0, 0); duplicate || !errors.Is(err, c.want) {
			t.Errorf("sequence %d after %d: duplicate %v, %v; want %v", c.sequence, math.MaxInt32, duplicate, err, c.want)
		}
	}
	if first, duplicate, err := ps.check(h, 0, 0); first != 5 || !duplicate || err != nil {
		t.Errorf("the same again: %d, duplicate %v, %v", first, duplicate, err)
	}
}

// producerWorld sends batches of one record to a table of 100 producers.
type producerWorld struct {
	t    *testing.T
	ps   *producers
	now  int64
	next protocol.Offset
}

func (w *producerWorld) send(id int64, sequence int32, from source) (duplicate bool, err error) {
	h := &protocol.BatchHeader{ProducerID: id, BaseSequence: sequence, Count: 1}
	if _, duplicate, err = w.ps.check(h, from, w.now); err == nil && !duplicate {
		w.ps.add(h, w.next, from, w.now)
		w.next++
	}
	count := 0
	for s, n := range w.ps.sources {
		if n <= 0 {
			w.t.Fatalf("source %d has %d producers", s, n)
		}
		count += n
	}
	if count != len(w.ps.byID) || count != w.ps.order.Len() || count > w.ps.limit {
		w.t.Fatalf("%d producers, %d in order, %d by source", len(w.ps.byID), w.ps.order.Len(), count)
	}
	return duplicate, err
}

func TestInventedProducersDoNotDisplaceALiveOne(t *testing.T) {
	w := &producerWorld{t: t, ps: newProducers(100)}
	for id := range int64(10) {
		if _, err := w.send(id, 0, source(100+id)); err != nil {
			t.Fatal(err)
		}
	}
	refused := 0
	for id := range int64(1000) {
		w.now++
		_, err := w.send(1000+id, 0, 7)
		if err != nil && !errors.Is(err, protocol.ErrBusy) {
			t.Fatal(err)
		}
		if err != nil {
			refused++
		}
	}
	if refused != 910 {
		t.Errorf("%d of 1000 invented producers were refused", refused)
	}
	for id := range int64(10) {
		if duplicate, err := w.send(id, 0, source(100+id)); err != nil || !duplicate {
			t.Errorf("the retry of producer %d: duplicate %v, %v", id, duplicate, err)
		}
	}
	// Who has few still finds room, at the cost of who has many.
	for id := range int64(20) {
		if _, err := w.send(5000+id, 0, 8); err != nil {
			t.Errorf("an honest new producer: %v", err)
		}
	}
	if duplicate, err := w.send(0, 0, 100); err != nil || !duplicate {
		t.Errorf("the retry afterwards: duplicate %v, %v", duplicate, err)
	}
}

func TestProducersThatWereQuietLongGiveWay(t *testing.T) {
	w := &producerWorld{t: t, ps: newProducers(100)}
	for id := range int64(100) {
		if _, err := w.send(id, 0, 7); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.send(500, 0, 7); !errors.Is(err, protocol.ErrBusy) {
		t.Errorf("a new producer while all are in use: %v", err)
	}
	w.now += producerHeld
	for id := range int64(100) {
		if _, err := w.send(500+id, 0, 7); err != nil {
			t.Fatal(err)
		}
	}
	// Those that the log tells of were quiet for nobody knows how long.
	w.ps = newProducers(100)
	for id := range int64(200) {
		w.ps.learn(&protocol.BatchHeader{ProducerID: id, Count: 1, Base: protocol.Offset(id)})
	}
	if _, err := w.send(900, 0, 7); err != nil {
		t.Error(err)
	}
	if _, known := w.ps.byID[101]; !known || w.ps.byID[100] != nil {
		t.Error("it was not the oldest that gave way")
	}
}

func TestAProducersSourceIsItsConnection(t *testing.T) {
	a, b := sourceOf(actor.NewPID("nats", " 1z 5 _INBOX.x")), sourceOf(actor.NewPID("nats", " 20 5 _INBOX.x"))
	if a == b || a == 0 || a != sourceOf(actor.NewPID("nats", " 1z 6 _INBOX.y")) {
		t.Errorf("sources %d and %d", a, b)
	}
	for _, id := range []string{"", "_INBOX.x", " _ 5 x"} {
		if s := sourceOf(actor.NewPID("nats", id)); s != 0 {
			t.Errorf("%q is source %d", id, s)
		}
	}
}
