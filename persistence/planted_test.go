//go:build planted

package persistence

import (
	"strings"
	"testing"
)

// caughtWithin is how many worlds, and how many vandals, are enough to catch
// every planted defect.
const caughtWithin = 2000

// TestPlantedDefectsAreCaught plants one defect after the other and wants the
// suite to fail. A suite that lets one pass proves nothing.
func TestPlantedDefectsAreCaught(t *testing.T) {
	for d := noDefect + 1; d < defects; d++ {
		t.Run(d.String(), func(t *testing.T) {
			planted = d
			defer func() { planted = noDefect }()
			by, err := catch()
			if err == nil {
				t.Fatalf("the suite does not notice that %s", d)
			}
			verdict, _, _ := strings.Cut(err.Error(), "\n")
			t.Logf("caught by %s: %s", by, verdict)
		})
	}
}

// catch runs the whole suite until something fails, a little of each part first.
func catch() (by string, err error) {
	first := uint64(1)
	for _, last := range []uint64{100, caughtWithin} {
		if _, err = simulateAll(first, last); err != nil {
			return "TestCrash", err
		}
		for seed := first; seed <= last; seed++ {
			if _, err = vandalize(seed); err != nil {
				return "TestDamage", err
			}
		}
		first = last + 1
	}
	if _, err = playAll(); err != nil {
		return "TestEveryOperationFailsOnce", err
	}
	return "", nil
}
