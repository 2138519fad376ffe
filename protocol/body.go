package protocol

import (
	"encoding/binary"
	"iter"
)

// The body of a batch: its records, one after the other, each
//
//	| length | time delta | key length + 1 | key | headers | name len | name | value len | value | ... | payload |
//
// All numbers are unsigned varints in their shortest form, so that a body has one
// encoding. length counts what follows it; the time delta is milliseconds after
// the batch's first time; a key length of 0 means no key; "headers" is their
// number; the payload is the rest. Offsets are not stored: they are dense.

// appendRecord appends r's encoding to dst. delta is r's time after the batch's
// first time.
func appendRecord(dst []byte, r *Record, delta uint64) []byte {
	dst = binary.AppendUvarint(dst, uint64(recordLen(r, delta)))
	dst = binary.AppendUvarint(dst, delta)
	if r.Key == nil {
		dst = append(dst, 0)
	} else {
		dst = binary.AppendUvarint(dst, uint64(len(r.Key)+1))
		dst = append(dst, r.Key...)
	}
	dst = binary.AppendUvarint(dst, uint64(len(r.Headers)))
	for i := range r.Headers {
		dst = binary.AppendUvarint(dst, uint64(len(r.Headers[i].Name)))
		dst = append(dst, r.Headers[i].Name...)
		dst = binary.AppendUvarint(dst, uint64(len(r.Headers[i].Value)))
		dst = append(dst, r.Headers[i].Value...)
	}
	return append(dst, r.Value...)
}

// recordLen is the number of bytes after the length field.
func recordLen(r *Record, delta uint64) int {
	n := uvarintLen(delta) + 1 + uvarintLen(uint64(len(r.Headers))) + len(r.Value)
	if r.Key != nil {
		n += uvarintLen(uint64(len(r.Key)+1)) - 1 + len(r.Key)
	}
	for i := range r.Headers {
		h := &r.Headers[i]
		n += uvarintLen(uint64(len(h.Name))) + len(h.Name) + uvarintLen(uint64(len(h.Value))) + len(h.Value)
	}
	return n
}

func uvarintLen(v uint64) int {
	n := 1
	for v >= 0x80 {
		v >>= 7
		n++
	}
	return n
}

// plainHead is what comes before a plain record's payload.
const plainHead = 3

// plain says whether a record has a time delta of one byte, no key and no headers, as most
// have. b is what follows its length.
func plain(b []byte) bool { return len(b) >= plainHead && b[0] < 0x80 && b[1]|b[2] == 0 }

// cursor reads the fields of a body. After a fault ok is false and all reads
// return zero values.
type cursor struct {
	b  []byte
	ok bool
}

func (c *cursor) uvarint() uint64 {
	if len(c.b) > 0 && c.b[0] < 0x80 { // most numbers are small
		v := uint64(c.b[0])
		c.b = c.b[1:]
		return v
	}
	v, n := uvarint(c.b)
	if n == 0 {
		c.ok, c.b = false, nil
		return 0
	}
	c.b = c.b[n:]
	return v
}

func (c *cursor) bytes(n uint64) []byte {
	if n > uint64(len(c.b)) {
		c.ok, c.b = false, nil
		return nil
	}
	v := c.b[:n:n]
	c.b = c.b[n:]
	return v
}

// walkRecords checks every record of a raw body without allocating and returns
// the bytes that they would take in a MetaQ log. refused is the first header name
// that RefusedInBatch has something against, or nil; it points into body.
func walkRecords(h *BatchHeader, body []byte) (metaqLen int64, refused []byte, err error) {
	span := uint64(h.MaxTime) - uint64(h.FirstTime)
	c := cursor{b: body, ok: true}
	for i := range h.Count {
		rec := cursor{b: c.bytes(c.uvarint()), ok: true}
		if plain(rec.b) && uint64(rec.b[0]) <= span {
			metaqLen += int64(metaqRecordHeader + len(rec.b) - plainHead)
			continue
		}
		delta := rec.uvarint()
		if key := rec.uvarint(); key > 0 {
			rec.bytes(key - 1)
		}
		seen := false
		for n := rec.uvarint(); n > 0 && rec.ok; n-- {
			name := rec.bytes(rec.uvarint())
			value := rec.bytes(rec.uvarint())
			if !seen && string(name) == HeaderAttribute {
				seen = true
				metaqLen += int64(metaqAttributeHeader + len(value))
			}
			if refused == nil && mayBeRefused(name) && RefusedInBatch(string(name)) != nil {
				refused = name
			}
		}
		if !c.ok || !rec.ok {
			return 0, nil, badBatch("record %d of %d does not fit its length", i, h.Count)
		}
		if delta > span {
			return 0, nil, badBatch("record %d of %d is %d ms after the first one, the last one %d", i, h.Count, delta, span)
		}
		metaqLen += int64(metaqRecordHeader + len(rec.b))
	}
	if len(c.b) != 0 {
		return 0, nil, badBatch("%d bytes follow the last of %d records", len(c.b), h.Count)
	}
	return metaqLen, refused, nil
}

// DecodeRecords is ScanRecords as an iterator. Records are yielded with their
// offset and time; after a fault the last pair holds the error.
func DecodeRecords(h *BatchHeader, b []byte) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		s, err := ScanRecords(h, b)
		for r := (Record{}); err == nil && s.Next(&r); {
			if !yield(r, nil) {
				return
			}
		}
		if err == nil {
			err = s.Err()
		}
		if err != nil {
			yield(Record{}, err)
		}
	}
}
