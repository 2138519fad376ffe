package transport

import (
	"testing"
	"time"
)

// What is read after a standstill may be older than its client's wait. Whoever looks first
// notices it.
func TestAStandstillIsNoticedFromTheClocks(t *testing.T) {
	begin := time.Now()
	at := func(s float64) time.Time { return begin.Add(time.Duration(s * float64(time.Second))) }
	for _, c := range []struct {
		name    string
		looks   []float64 // seconds since the beginning
		stood   []float64 // what each returns
		noticed int
	}{
		{"it runs", []float64{0.25, 0.5, 0.75}, []float64{0, 0, 0}, 0},
		{"a pause that clients wait out", []float64{3.5, 3.6, 7}, []float64{0, 0, 0}, 0},
		{"a standstill", []float64{1, 41, 41.1, 45.9, 46, 50}, []float64{0, 40, 40, 40, 0, 0}, 1},
		{"two standstills", []float64{40, 50, 50.1}, []float64{40, 10, 10}, 2},
	} {
		noticed := 0
		s := newStalls(begin, func(time.Duration) { noticed++ })
		for i, look := range c.looks {
			if i > 0 { // it ran in between, but for the steps that are standstills
				for from := c.looks[i-1]; look-from < 10 && from+1 < look; from++ {
					s.look(at(from + 1))
				}
			}
			if got := s.look(at(look)).Seconds(); got != c.stood[i] {
				t.Errorf("%s: at %gs: stood still for %gs, want %gs", c.name, look, got, c.stood[i])
			}
		}
		if noticed != c.noticed {
			t.Errorf("%s: noticed %d times", c.name, noticed)
		}
	}
}

// A machine that was suspended moves the wall clock alone.
func TestASuspendedMachineStoodStill(t *testing.T) {
	begin := time.Now()
	s := newStalls(begin, func(time.Duration) {})
	if stood := s.look(begin.Round(0).Add(time.Minute)); stood != time.Minute {
		t.Errorf("stood still for %s", stood)
	}
}
