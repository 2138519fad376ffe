package turns

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const patience = 10 * time.Second

// queued makes a client wait with one request after the other, and reports each that begins.
func queued(t *testing.T, all *Turns, client uint64, requests int, begun chan<- uint64) {
	t.Helper()
	before := all.Held()
	go func() {
		for range requests {
			all.Enter(client, 1)
			begun <- client
		}
	}()
	eventually(t, "the client waits", func() bool { return all.Held() == before+1 })
}

// A connection that sends much does not stand before others with all of it: one request of
// each connection begins in turn.
func TestConnectionsTakeTurns(t *testing.T) {
	all := New(4, 2, nil)
	all.Enter(9, 1)
	all.Enter(9, 1)
	begun := make(chan uint64)
	queued(t, all, 1, 3, begun)
	queued(t, all, 2, 2, begun)
	queued(t, all, 3, 1, begun)
	var order []uint64
	under := []uint64{9, 9}
	for waiting := range 6 {
		all.Leave(under[0], 1)
		one := <-begun
		order, under = append(order, one), append(under[1:], one)
		rest := []int64{3, 3, 2, 2, 1, 0}[waiting]
		eventually(t, "those that have more wait again", func() bool { return all.Held() == rest })
	}
	if d := cmp.Diff([]uint64{1, 2, 3, 1, 2, 1}, order); d != "" {
		t.Errorf("requests began in the order %d: %s", order, d)
	}
}

// A connection with its share under way waits for an answer of its own, and keeps no other
// connection waiting.
func TestAConnectionHasItsShare(t *testing.T) {
	all := New(2, 10, nil)
	all.Enter(1, 1)
	all.Enter(1, 1)
	begun := make(chan uint64)
	queued(t, all, 1, 1, begun)
	all.Enter(2, 1) // it does not wait
	all.Leave(2, 1)
	if all.Held() != 1 {
		t.Fatal("an answer to another connection gave it a third place")
	}
	all.Leave(1, 1)
	<-begun
	all.Leave(1, 1)
	all.Leave(1, 1)
	if all.now != 0 || len(all.of) != 0 || all.Held() != 0 {
		t.Errorf("%d are under way, of %v, at the end", all.now, all.of)
	}
}

// A large request takes many places of its connection's share, and at most all of them. What
// came later does not overtake it.
func TestALargeRequestTakesManyPlaces(t *testing.T) {
	all := New(4, 5, nil)
	if got := []int{all.Places(0), all.Places(PlaceSize), all.Places(100 * PlaceSize)}; !slices.Equal(got, []int{1, 2, 4}) {
		t.Fatalf("places are %d", got)
	}
	small := all.Take(1, 1)
	other := all.Take(2, 1)
	began := make(chan *Seat)
	go func() { began <- all.Take(3, 1<<20) }()
	eventually(t, "the large one waits for its turn", func() bool { return all.Held() == 1 })
	later := make(chan *Seat)
	go func() { later <- all.Take(4, 1) }()
	eventually(t, "a later one waits behind it", func() bool { return all.Held() == 2 })
	small.Leave()
	large := <-began
	if all.now != 5 || all.Held() != 1 {
		t.Errorf("%d places are in use, and %d wait", all.now, all.Held())
	}
	other.Leave()
	(<-later).Leave()
	large.Leave()
	if all.now != 0 || len(all.of) != 0 || all.Held() != 0 {
		t.Errorf("%d are under way, of %v, at the end", all.now, all.of)
	}
}

// A broker that stops waits for no turn: the connections' goroutines end.
func TestNobodyWaitsForATurnWhenTheBrokerStops(t *testing.T) {
	leaving := make(chan struct{})
	all := New(1, 2, leaving)
	all.Enter(1, 1)
	all.Enter(2, 1)
	begun := make(chan uint64)
	queued(t, all, 1, 1, begun) // for its share
	queued(t, all, 3, 1, begun) // for its turn
	close(leaving)
	<-begun
	<-begun
	for _, client := range []uint64{1, 1, 2, 3} {
		all.Leave(client, 1)
	}
	if all.now != 0 || len(all.of) != 0 || all.Held() != 0 {
		t.Errorf("%d are under way, of %v, at the end", all.now, all.of)
	}
}

func TestAPlaceIsGivenBackOnce(t *testing.T) {
	all := New(2, 2, nil)
	one, other := all.Take(1, 1), all.Take(1, 1)
	one.Leave()
	one.Leave()
	if all.now != 1 {
		t.Errorf("%d are under way, want 1", all.now)
	}
	other.Leave()
	if none := all.Take(0, 1); none != nil {
		t.Error("a request that is no client's has a place")
	}
}

// eventually polls with a deadline; it is for what gives no event.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	deadline, tick := time.After(patience), time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}
