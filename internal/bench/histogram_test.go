package bench

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestPercentileIsCloseToTheExactOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		micros := rapid.SliceOfN(rapid.Int64Range(0, 1<<40), 1, 200).Draw(t, "micros")
		p := rapid.SampledFrom([]float64{50, 99, 99.9, 100}).Draw(t, "p")
		half := rapid.IntRange(0, len(micros)).Draw(t, "half")
		var h, other Histogram
		for i, v := range micros {
			if i < half {
				h.Add(time.Duration(v) * time.Microsecond)
			} else {
				other.Add(time.Duration(v) * time.Microsecond)
			}
		}
		h.Merge(&other)
		slices.Sort(micros)
		at := max(0, int((p*float64(len(micros))+99.9999)/100)-1)
		exact := time.Duration(micros[min(at, len(micros)-1)]) * time.Microsecond
		got := h.Percentile(p)
		if got < exact || got > exact+exact/sub+time.Microsecond {
			t.Fatalf("p%v of %v is %v, histogram says %v", p, micros, exact, got)
		}
	})
}

func TestBucketsAreInOrderAndWithoutGap(t *testing.T) {
	last := 0
	for v := uint64(0); v < 1<<20; v++ {
		i := bucketOf(v)
		if i != last && i != last+1 {
			t.Fatalf("%d is in bucket %d, its predecessor in %d", v, i, last)
		}
		if v >= endOf(i) {
			t.Fatalf("%d is in bucket %d, which ends at %d", v, i, endOf(i))
		}
		last = i
	}
	if got := bucketOf(1 << 63); got != buckets-1 {
		t.Errorf("the largest value is in bucket %d, want the last, %d", got, buckets-1)
	}
}

func TestHistogramOfNothing(t *testing.T) {
	var h Histogram
	if got := h.Percentile(99); got != 0 {
		t.Errorf("p99 of nothing is %v", got)
	}
}
