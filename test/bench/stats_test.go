package main

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestSpreadOf(t *testing.T) {
	for _, c := range []struct {
		name   string
		values []float64
		want   spread
	}{
		{"one value is all three", []float64{7}, spread{7, 7, 7}},
		{"odd count takes the middle one", []float64{9, 1, 5}, spread{5, 1, 9}},
		{"even count takes the mean of the middle two", []float64{4, 1, 2, 10}, spread{3, 1, 10}},
	} {
		if got := spreadOf(c.values); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
	if spreadOf(nil).known() {
		t.Error("the spread of nothing claims to be known")
	}
}

func TestSpreadDoesNotDependOnOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Float64Range(0, 1e9), 1, 9).Draw(t, "values")
		got := spreadOf(values)
		other := slices.Clone(values)
		slices.Reverse(other)
		if again := spreadOf(other); again != got {
			t.Fatalf("%v gives %v, reversed %v", values, got, again)
		}
		if got.Min > got.Median || got.Median > got.Max {
			t.Fatalf("%v gives %v, which is not in order", values, got)
		}
	})
}

func TestAdvantageComparesWithinARound(t *testing.T) {
	ours := map[int]float64{1: 100, 2: 300, 3: 50, 4: 8}
	theirs := map[int]float64{1: 50, 2: 100, 3: 100} // round 4 failed there
	if got, want := advantage(ours, theirs, false), (spread{2, 0.5, 3}); got != want {
		t.Errorf("more is better: got %v, want %v", got, want)
	}
	if got, want := advantage(ours, theirs, true), (spread{0.5, 1.0 / 3, 2}); got != want {
		t.Errorf("less is better: got %v, want %v", got, want)
	}
	if advantage(ours, map[int]float64{9: 1}, false).known() {
		t.Error("an advantage without a common round claims to be known")
	}
}
