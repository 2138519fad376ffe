package protocol

import "encoding/binary"

// RecordScanner decodes the records of one batch one after the other, into memory
// of the caller and without allocating, but for headers. A fault shows when it is
// reached: the records before it are good. Not for concurrent use.
type RecordScanner struct {
	body  []byte // what is left
	count int    // of the batch
	left  int    // records that are left
	next  Offset
	first int64
	span  uint64
	err   error
}

// ScanRecords begins with the first record of the batch at the start of b, whose
// header h was decoded from the same bytes and whose checksum was verified. The
// records point into b, or into a new buffer when the body is compressed; they are
// valid as long as the caller leaves b alone.
func ScanRecords(h *BatchHeader, b []byte) (RecordScanner, error) {
	if len(b) < h.Length {
		return RecordScanner{}, ErrShortBatch
	}
	body, err := ownBody(h, b)
	if err != nil {
		return RecordScanner{}, err
	}
	return RecordScanner{
		body: body, count: h.Count, left: h.Count, next: h.Base,
		first: h.FirstTime, span: uint64(h.MaxTime) - uint64(h.FirstTime),
	}, nil
}

// Left is the number of records that Next has yet to give.
func (s *RecordScanner) Left() int { return s.left }

// Offset is that of the record which Next gives next.
func (s *RecordScanner) Offset() Offset { return s.next }

// Err is what was wrong with the batch, once Next has returned false.
func (s *RecordScanner) Err() error { return s.err }

// Next decodes the next record into r, all of whose fields it sets. It returns
// false at the end, and at a fault.
func (s *RecordScanner) Next(r *Record) bool {
	b := s.body
	if s.left == 0 {
		if len(b) != 0 && s.err == nil {
			s.err = badBatch("%d bytes follow the last of %d records", len(b), s.count)
		}
		return false
	}
	size, n := uvarint(b)
	if n == 0 || size > uint64(len(b)-n) {
		return s.misfit()
	}
	end := n + int(size)
	b, s.body = b[n:end:end], b[end:]
	var delta uint64
	r.Key, r.Headers = nil, nil
	if plain(b) {
		delta, b = uint64(b[0]), b[plainHead:]
	} else {
		var ok bool
		if delta, b, ok = scanFields(b, r); !ok {
			return s.misfit()
		}
	}
	if delta > s.span {
		return s.fail(badBatch("record %d of %d is %d ms after the first one, the last one %d", s.count-s.left, s.count, delta, s.span))
	}
	r.Offset, r.Time, r.Value = s.next, s.first+int64(delta), b
	s.next++
	s.left--
	return true
}

// scanFields decodes what is between a record's length and its payload.
func scanFields(b []byte, r *Record) (delta uint64, payload []byte, ok bool) {
	c := cursor{b: b, ok: true}
	delta = c.uvarint()
	if key := c.uvarint(); key > 0 {
		r.Key = c.bytes(key - 1)
	}
	if n := c.uvarint(); n > 0 {
		if n > uint64(len(c.b))/2 {
			return 0, nil, false // each takes at least two bytes: do not allocate for more
		}
		r.Headers = make([]Header, n)
		for i := range r.Headers {
			r.Headers[i].Name = string(c.bytes(c.uvarint()))
			r.Headers[i].Value = string(c.bytes(c.uvarint()))
		}
	}
	return delta, c.b, c.ok
}

func (s *RecordScanner) misfit() bool {
	return s.fail(badBatch("record %d of %d does not fit its length", s.count-s.left, s.count))
}

func (s *RecordScanner) fail(err error) bool {
	s.err, s.left, s.body = err, 0, nil
	return false
}

// uvarint is a number in its shortest form and how many bytes it takes; 0 when
// there is none.
func uvarint(b []byte) (uint64, int) {
	if len(b) > 1 && b[0] >= 0x80 && b[1]-1 < 0x7f { // two bytes, and no fewer would do
		return uint64(b[0]&0x7f) | uint64(b[1])<<7, 2
	}
	v, n := binary.Uvarint(b)
	if n <= 0 || n != uvarintLen(v) {
		return 0, 0
	}
	return v, n
}
