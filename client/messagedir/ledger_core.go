package messagedir

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
)

// ledger says what the entries of a file come to: which records are kept, and
// where they stand. It sees no file.
type ledger struct {
	next  int64 // number of the next record; above all others
	end   int64 // of the file, in bytes
	live  map[int64]place
	known map[sum]int64 // number of each live record
	bytes int64         // that the live entries take
}

// place is where a live entry stands.
type place struct {
	at, size int64
	sum      sum
}

// sum stands for a record: no two have one sum. An offset would not do, since a
// topic that is made again has the same ones.
type sum [sha256.Size]byte

func newLedger(end int64) *ledger {
	return &ledger{next: 1, end: end, live: map[int64]place{}, known: map[sum]int64{}}
}

// add takes the entry that follows, or says why it cannot follow.
func (l *ledger) add(e *entry) error {
	switch e.kind {
	case kindKept:
		if e.number < l.next {
			return fmt.Errorf("record %d follows record %d", e.number, l.next-1)
		}
		s := sum(sha256.Sum256(e.record))
		l.live[e.number] = place{e.at, e.size(), s}
		l.known[s] = e.number
		l.next = e.number + 1
		l.bytes += e.size()
	case kindDone:
		p, kept := l.live[e.number]
		if !kept || len(e.record) > 0 {
			return fmt.Errorf("record %d is done and was not kept", e.number)
		}
		delete(l.live, e.number)
		delete(l.known, p.sum)
		l.bytes -= p.size
	default:
		return fmt.Errorf("an entry of kind %d is not known", e.kind)
	}
	l.end += e.size()
	return nil
}

// number is that under which record is kept, or 0.
func (l *ledger) number(record []byte) int64 { return l.known[sha256.Sum256(record)] }

// numbers are those of the live records, the oldest first.
func (l *ledger) numbers() []int64 { return slices.Sorted(maps.Keys(l.live)) }

// wasteful reports whether the file should be rewritten: then more of it is dead
// than live, and more than slack.
func (l *ledger) wasteful(slack int64) bool { return l.end > 2*l.bytes+slack }

// compact returns the bytes of a file that has only the live entries of file, which
// l describes, and its ledger.
func (l *ledger) compact(file []byte, consumer string) ([]byte, *ledger) {
	out := appendHeader(make([]byte, 0, headerSize+maxNameSize+int(l.bytes)), consumer)
	fresh := newLedger(int64(len(out)))
	for _, n := range l.numbers() {
		p := l.live[n]
		e := entry{at: fresh.end, kind: kindKept, number: n, record: file[p.at+entrySize : p.at+p.size]}
		out = appendEntry(out, &e)
		fresh.live[n] = place{e.at, p.size, p.sum}
		fresh.known[p.sum] = n
		fresh.end += p.size
	}
	fresh.next, fresh.bytes = l.next, l.bytes
	return out, fresh
}

// read makes the ledger of a consumer's file. torn is how many bytes at the end are
// no entry, and no entry follows: a crash came while the last one was written. A
// wrong byte before a good entry is a *DamageError without a path.
//
// An entry is written only after those before it are synced, so a torn one is the
// last one, and nobody was told that it is kept.
func read(file []byte, consumer string) (l *ledger, torn int64, err error) {
	owner, n, err := parseHeader(file)
	switch {
	case err != nil:
		return nil, 0, &DamageError{Why: err.Error()}
	case owner != consumer:
		return nil, 0, &DamageError{Why: fmt.Sprintf("it belongs to consumer %s, not to %s", owner, consumer)}
	}
	l = newLedger(int64(n))
	for l.end < int64(len(file)) {
		e, ok := parseEntry(file[l.end:], l.end)
		if !ok {
			if good := nextEntry(file, l.end+1); good >= 0 {
				return nil, 0, &DamageError{Pos: l.end, Why: fmt.Sprintf("no entry begins there, and a good one follows at byte %d", good)}
			}
			return l, int64(len(file)) - l.end, nil
		}
		if err := l.add(&e); err != nil {
			return nil, 0, &DamageError{Pos: e.at, Why: err.Error()}
		}
	}
	return l, 0, nil
}

// nextEntry is where the first good entry at or after byte from begins, or -1.
func nextEntry(file []byte, from int64) int64 {
	for at := from; at+entrySize <= int64(len(file)); at++ {
		if _, ok := parseEntry(file[at:], at); ok {
			return at
		}
	}
	return -1
}
