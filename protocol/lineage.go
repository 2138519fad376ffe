package protocol

import "sort"

// EpochStart is one entry of a log's epochs: the records from First on were written
// under Epoch, up to the next entry.
type EpochStart struct {
	Epoch Epoch  `json:"epoch"`
	First Offset `json:"first"`
}

// MaxLineage is the number of epochs that an answer holds, the newest ones.
const MaxLineage = 1000

// Lineage tells one branch of a log from another. A log that loses its end, to a power
// failure or a restored backup, and grows again has other records at the same offsets;
// its leader opened it under a new epoch, so they differ in their epochs. A position in a
// log is an offset and the epoch of the record before it.
type Lineage struct {
	LogStart  Offset
	EndOffset Offset
	// Epochs rise in both fields. The first ones may be missing, and with the log of a
	// release that does not tell them all are.
	Epochs []EpochStart
}

// holding returns the index of the entry of the record at o, or -1.
func (l *Lineage) holding(o Offset) int {
	return sort.Search(len(l.Epochs), func(i int) bool { return l.Epochs[i].First > o }) - 1
}

// EpochBefore returns the epoch of the record before o, for an o beyond the end the
// newest one; 0 when there is no such record, or its epoch is not known.
func (l *Lineage) EpochBefore(o Offset) Epoch {
	if i := l.holding(o - 1); i >= 0 && o > 0 {
		return l.Epochs[i].Epoch
	}
	return 0
}

// Newest returns the newest epoch, or 0.
func (l *Lineage) Newest() Epoch {
	if n := len(l.Epochs); n > 0 {
		return l.Epochs[n-1].Epoch
	}
	return 0
}

// Diverged reports whether a position is not on this branch of the log: it lies beyond
// the end, or the record before o has another epoch than e here. It returns where to
// continue: the highest offset that the branch of the position and this one have in
// common, as far as epochs tell, moved into the log. An e of 0 is not known, and only the
// end is looked at. What retention has taken away is no divergence.
func (l *Lineage) Diverged(o Offset, e Epoch) (at Offset, diverged bool) {
	if o <= l.EndOffset {
		if here := l.EpochBefore(o); e == 0 || here == 0 || here == e {
			return o, false
		}
	}
	at = min(o, l.EndOffset)
	if e > 0 && len(l.Epochs) > 0 {
		// The largest epoch that is not above e: where it ended here is the last place
		// that both can have in common.
		i := sort.Search(len(l.Epochs), func(i int) bool { return l.Epochs[i].Epoch > e }) - 1
		if i+1 < len(l.Epochs) {
			at = min(at, l.Epochs[i+1].First)
		}
		if at == o {
			// The epochs have gone back: a registry was set back, and e is not in this
			// log. That the record before o is another one is all that is known.
			at = l.Epochs[l.holding(o-1)].First
		}
	}
	return max(at, l.LogStart), true
}
