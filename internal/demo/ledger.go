package demo

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"math"

	"metaq/protocol"
)

// MaxMessages is the most messages that one Ledger can hold.
const MaxMessages = math.MaxUint32 - 1

// Ledger remembers which messages were sent, in a few bytes each, and judges
// those that come back. Messages have numbers, from 1 in the order of sending.
// It is used from one goroutine.
type Ledger struct {
	seed    maphash.Seed
	entries []entry           // message n is entries[n-1]
	keys    map[string]*chain // by key
	right   int64             // messages that came back as they should
	wrong   int64             // messages that did not
	first   error             // the first of them
}

// entry is one message that was sent.
type entry struct {
	hash uint64 // of its payload
	next uint32 // number of the next message with this key; 0 when there is none
	back bool   // it came back
}

// chain is the messages of one key. Invariant: expect is the oldest that has
// not come back, or 0 when none is out.
type chain struct {
	last   uint32 // newest that was sent
	expect uint32
}

// NewLedger returns an empty Ledger.
func NewLedger() *Ledger {
	return &Ledger{seed: maphash.MakeSeed(), keys: map[string]*chain{}}
}

// Key is the key under which the demo publishes a line: its first word, at most
// 32 bytes of it, cut at a character. So lines that begin with the same word keep their order, and
// a line without a word has the empty key.
func Key(line []byte) []byte {
	const limit = 32
	word := bytes.TrimLeft(line, " \t\r\n\v\f")
	if i := bytes.IndexAny(word, " \t\r\n\v\f"); i >= 0 {
		word = word[:i]
	}
	if len(word) == 0 {
		return []byte{} // an empty key is a key; nil would be none
	}
	return []byte(protocol.CutText(string(word), limit))
}

// Sent enters a message and returns its number.
func (l *Ledger) Sent(key, payload []byte) uint32 {
	n := uint32(len(l.entries) + 1)
	l.entries = append(l.entries, entry{hash: maphash.Bytes(l.seed, payload)})
	c := l.keys[string(key)]
	switch {
	case c == nil:
		l.keys[string(key)] = &chain{last: n, expect: n}
		return n
	case c.expect == 0:
		c.expect = n
	}
	l.entries[c.last-1].next = n
	c.last = n
	return n
}

// Received judges a message that came back as number n. A message that is not
// the next one of its key, or not what was sent, is an error that says why.
func (l *Ledger) Received(n uint32, key, payload []byte) error {
	if err := l.judge(n, key, payload); err != nil {
		l.wrong++
		if l.first == nil {
			l.first = err
		}
		return err
	}
	l.right++
	return nil
}

func (l *Ledger) judge(n uint32, key, payload []byte) error {
	if n == 0 || uint64(n) > uint64(len(l.entries)) {
		return fmt.Errorf("message %d came back and was never sent", n)
	}
	e := &l.entries[n-1]
	c := l.keys[string(key)]
	switch {
	case e.hash != maphash.Bytes(l.seed, payload):
		return fmt.Errorf("message %d came back with another content", n)
	case c == nil || c.last < n:
		return fmt.Errorf("message %d came back under the key %q, which is not its own", n, key)
	case e.back:
		return fmt.Errorf("message %d came back twice", n)
	case c.expect != n:
		return fmt.Errorf("message %d came back before message %d of the same key %q", n, c.expect, key)
	}
	e.back = true
	c.expect = e.next
	return nil
}

// Verdict is nil when every message that was sent came back once, unchanged and
// in order within its key, and nothing else did.
func (l *Ledger) Verdict() error {
	switch missing := l.Messages() - l.right; {
	case l.wrong > 0:
		return fmt.Errorf("%d messages came back wrong; the first: %w", l.wrong, l.first)
	case missing > 0:
		for i := range l.entries {
			if !l.entries[i].back {
				return fmt.Errorf("%d messages did not come back; the first is message %d", missing, i+1)
			}
		}
	}
	return nil
}

// Messages is how many messages were sent.
func (l *Ledger) Messages() int64 { return int64(len(l.entries)) }

// Keys is how many different keys they had.
func (l *Ledger) Keys() int { return len(l.keys) }

// Returned is how many of them came back as they should.
func (l *Ledger) Returned() int64 { return l.right }
