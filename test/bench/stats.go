package main

import (
	"math"
	"slices"
)

// spread is the middle and the ends of a few values.
type spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// spreadOf ignores the order of values; of none it is all NaN.
func spreadOf(values []float64) spread {
	if len(values) == 0 {
		return spread{math.NaN(), math.NaN(), math.NaN()}
	}
	v := slices.Sorted(slices.Values(values))
	mid := v[len(v)/2]
	if len(v)%2 == 0 {
		mid = (v[len(v)/2-1] + mid) / 2
	}
	return spread{mid, v[0], v[len(v)-1]}
}

func (s spread) known() bool { return !math.IsNaN(s.Median) }

// advantage is how many times better ours was than theirs, round by round: only
// rounds that measured both count. With less the smaller value is the better one.
func advantage(ours, theirs map[int]float64, less bool) spread {
	var ratios []float64
	for round, a := range ours {
		b, both := theirs[round]
		if !both {
			continue
		}
		if less {
			a, b = b, a
		}
		if b > 0 {
			ratios = append(ratios, a/b)
		}
	}
	return spreadOf(ratios)
}
