package cluster

import (
	"testing"
	"time"
)

// heldLease is a core that has had its record confirmed with these voters at a time.
func heldLease(now time.Time, voters map[int]string) *leaseCore {
	c := newLeaseCore(0, "run", 4*time.Second, 12*time.Second, now)
	c.found(nil, 0, "token")
	c.confirmed(now, c.propose(now, "token", voters), 0)
	return c
}

// The simulation found these: what may be in the registry counts, not only what was confirmed.
func TestPromisesDoNotProlongALeaseThatSomebodyElseMayEnd(t *testing.T) {
	began := time.Unix(1000, 0)
	later := began.Add(3 * time.Second)
	for name, c := range map[string]struct {
		second  map[int]string // voters of a write of unknown outcome
		granted map[int]string
		holds   bool
	}{
		"all voters have promised":                     {map[int]string{1: "a"}, map[int]string{1: "a"}, true},
		"one voter more may be named":                  {map[int]string{1: "a", 2: "b"}, map[int]string{1: "a"}, false},
		"both have promised":                           {map[int]string{1: "a", 2: "b"}, map[int]string{1: "a", 2: "b"}, true},
		"the voter has restarted between the writes":   {map[int]string{1: "later"}, map[int]string{1: "later"}, false},
		"a record that names nobody may be there":      {nil, map[int]string{1: "a"}, false},
		"a voter is named of which no lease was found": {map[int]string{1: "a", 2: ""}, map[int]string{1: "a", 2: ""}, false},
	} {
		t.Run(name, func(t *testing.T) {
			l := heldLease(began, map[int]string{1: "a"})
			l.propose(began.Add(time.Second), "token", c.second)
			l.unsure()
			l.prolonged(later, c.granted, l.term)
			if got := l.holds(began.Add(6*time.Second), l.term); got != c.holds {
				t.Errorf("holds: %v", got)
			}
			if !l.holds(later, l.term) {
				t.Error("the confirmed lease does not last")
			}
		})
	}
}

// Who agreed that somebody takes over from it does not come back by promises.
func TestAHolderThatConsentedIsNotProlonged(t *testing.T) {
	began := time.Unix(1000, 0)
	l := heldLease(began, map[int]string{1: "a"})
	over := began.Add(20 * time.Second)
	if l.consent(began.Add(time.Second), 0, 0) {
		t.Error("it consents while it holds the lease")
	}
	if !l.consent(over, 0, 0) {
		t.Fatal("it does not consent when its lease is over")
	}
	l.prolonged(over, map[int]string{1: "a"}, l.term)
	if l.holds(over, l.term) {
		t.Error("it holds the lease again")
	}
}
