package bench

import (
	"math/bits"
	"time"
)

// Histogram counts durations in buckets whose width is at most 1/64 of their
// value, so that a percentile is right within 1.6 %. It has a fixed size of
// 24 KiB and no lock. The zero value is empty.
type Histogram struct {
	counts [buckets]int64
	total  int64
	max    time.Duration
}

const (
	subBits = 6
	sub     = 1 << subBits
	// Values below 2*sub have a bucket each, in microseconds; every further
	// doubling has sub buckets. 2^52 microseconds are more than a century.
	buckets = (52 - subBits + 1) * sub
)

// Add counts d; a negative d counts as 0.
func (h *Histogram) Add(d time.Duration) {
	h.counts[bucketOf(uint64(max(0, d.Microseconds())))]++
	h.total++
	h.max = max(h.max, d)
}

// Merge adds what o counted.
func (h *Histogram) Merge(o *Histogram) {
	for i, n := range o.counts {
		h.counts[i] += n
	}
	h.total += o.total
	h.max = max(h.max, o.max)
}

// Percentile returns a duration that p percent of those counted do not exceed,
// rounded up to the bucket's end but never above the largest; 0 when there are
// none.
func (h *Histogram) Percentile(p float64) time.Duration {
	need := int64(p / 100 * float64(h.total))
	if float64(need) < p/100*float64(h.total) {
		need++
	}
	seen := int64(0)
	for i, n := range h.counts {
		seen += n
		if seen >= need && seen > 0 {
			return min(h.max, time.Duration(endOf(i))*time.Microsecond)
		}
	}
	return 0
}

// bucketOf returns the bucket of v microseconds.
func bucketOf(v uint64) int {
	shift := max(0, bits.Len64(v)-subBits-1)
	return min(buckets-1, shift*sub+int(v>>shift))
}

// endOf returns the first value beyond bucket i, in microseconds.
func endOf(i int) uint64 {
	shift := max(0, i/sub-1)
	return uint64(i-shift*sub+1) << shift
}
