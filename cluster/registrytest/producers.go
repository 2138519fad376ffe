package registrytest

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"metaq/cluster"
)

// producerIDs: brokers take blocks of ids at once, and again after the registry has
// forgotten what it knew; no id comes twice.
func producerIDs(t *testing.T, s *store) {
	const brokers, blocks, size = 3, 10, 7
	now := time.Unix(1_800_000_000, 0)
	var mu sync.Mutex
	var taken []int64
	take := func(at time.Time, session int) {
		var wg sync.WaitGroup
		for id := range brokers {
			c, err := cluster.NewCatalog(s.session(), s.root)
			s.must(err)
			r, err := c.Register(s.ctx(), cluster.Broker{
				ID: id, Token: fmt.Sprintf("%d in session %d", id, session), Host: "h", NATS: "nats://h:4222",
			}, nil)
			s.must(err)
			wg.Go(func() {
				for range blocks {
					first, err := r.TakeProducerIDs(s.ctx(), at, size)
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					for i := range int64(size) {
						taken = append(taken, first+i)
					}
					mu.Unlock()
				}
				if err := r.Leave(s.ctx()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	take(now, 0)
	take(now.Add(-time.Hour), 1) // a clock that is behind takes nobody's ids
	// The registry is set back to a state in which it knew of none.
	s.caughtUp(s.reg)
	node, err := s.reg.Get(s.ctx(), s.path("nats/producers"))
	s.must(err)
	s.must(s.reg.Delete(s.ctx(), s.path("nats/producers"), node.Version))
	take(now.Add(time.Second), 2)

	slices.Sort(taken)
	if got, want := len(slices.Compact(slices.Clone(taken))), 3*brokers*blocks*size; got != want {
		t.Fatalf("%d different ids were taken, want %d", got, want)
	}
	if taken[0] < now.Unix() || taken[len(taken)-1] >= 1<<52 {
		t.Fatalf("ids are %d to %d", taken[0], taken[len(taken)-1])
	}
}
