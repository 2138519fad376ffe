package persistence

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	"metaq/protocol"
)

// chain is what a batch must continue.
type chain struct {
	next     protocol.Offset   // offset of the next record
	position protocol.Position // its MetaQ position
	epoch    protocol.Epoch    // of the last record
	time     int64             // greatest time so far in Unix milliseconds
}

// check returns why a batch does not continue the log, or "".
func (c *chain) check(h *protocol.BatchHeader) string {
	switch {
	case h.Base != c.next:
		return fmt.Sprintf("the batch begins at offset %d instead of %d", h.Base, c.next)
	case h.Position != c.position:
		return fmt.Sprintf("the batch begins at MetaQ position %d instead of %d", h.Position, c.position)
	case h.Epoch < c.epoch:
		return fmt.Sprintf("the batch has epoch %d after epoch %d", h.Epoch, c.epoch)
	case h.MaxTime < c.time:
		return fmt.Sprintf("the batch ends at time %d after time %d", h.MaxTime, c.time)
	}
	return ""
}

func (c *chain) advance(h *protocol.BatchHeader) {
	*c = chain{next: h.Next(), position: h.NextPosition(), epoch: h.Epoch, time: h.MaxTime}
}

// errBlank says that zeroed space, or the end of the file, follows.
var errBlank = errors.New("blank")

// badBytes says that neither a batch that continues the log nor blank space
// follows.
type badBytes struct{ why string }

func (e *badBytes) Error() string { return e.why }

const scanWindow = 64 << 10

var windows = sync.Pool{New: func() any { b := make([]byte, scanWindow); return &b }}

// scanner reads the batches of a segment one after the other and verifies each.
// Close gives its buffer back.
type scanner struct {
	file   io.ReaderAt
	path   string
	at     int64 // byte place of the next batch
	end    int64 // nothing is read from here on
	chain  chain // what the next batch continues
	buf    *[]byte
	window []byte // bytes of the file from windowAt on, within *buf
	winAt  int64
}

func newScanner(f io.ReaderAt, path string, at, end int64, c chain) *scanner {
	buf, ok := windows.Get().(*[]byte)
	if !ok {
		buf = new([]byte)
	}
	// A truncation may have moved the end below a place that a reader remembers.
	return &scanner{file: f, path: path, at: at, end: max(at, end), chain: c, buf: buf}
}

func (s *scanner) close() {
	// One huge batch must not pin its buffer for ever.
	if cap(*s.buf) <= 1<<20 {
		windows.Put(s.buf)
	}
	s.buf, s.window = nil, nil
}

// next returns the next batch; its bytes are valid until the following call.
// It returns errBlank, a *badBytes, or what reading the file failed with; after
// an error at and chain are where they were.
func (s *scanner) next() (protocol.BatchHeader, []byte, error) {
	var none protocol.BatchHeader
	rest := s.end - s.at
	head, err := s.bytes(int(min(rest, protocol.BatchHeaderSize)))
	if err != nil {
		return none, nil, err
	}
	if isZero(head[:min(4, len(head))]) {
		return none, nil, errBlank
	}
	h, err := protocol.ParseBatchHeader(head)
	if err != nil {
		return none, nil, &badBytes{err.Error()}
	}
	if int64(h.Length) > rest {
		return none, nil, &badBytes{fmt.Sprintf("the batch has %d bytes, but only %d follow", h.Length, rest)}
	}
	if why := s.chain.check(&h); why != "" {
		return none, nil, &badBytes{why}
	}
	b, err := s.bytes(h.Length)
	if err != nil {
		return none, nil, err
	}
	if err := protocol.VerifyChecksum(&h, b); err != nil {
		return none, nil, &badBytes{err.Error()}
	}
	s.at += int64(h.Length)
	s.chain.advance(&h)
	return h, b, nil
}

// seek goes on until the next batch is the one that holds offset, and returns
// its header without passing it. It returns errBlank when the log ends before.
func (s *scanner) seek(offset protocol.Offset) (protocol.BatchHeader, error) {
	for {
		at, c := s.at, s.chain
		h, _, err := s.next()
		if err != nil {
			return h, err
		}
		if h.Next() > offset {
			s.at, s.chain = at, c
			return h, nil
		}
	}
}

// bytes returns n bytes of the file from s.at on. The caller has held n against
// the end of the file.
func (s *scanner) bytes(n int) ([]byte, error) {
	if from := s.at - s.winAt; from >= 0 && from+int64(n) <= int64(len(s.window)) {
		return s.window[from : from+int64(n)], nil
	}
	want := int(min(s.end-s.at, int64(max(n, scanWindow))))
	if cap(*s.buf) < want {
		*s.buf = make([]byte, want)
	}
	s.window, s.winAt = (*s.buf)[:want], s.at
	got, err := s.file.ReadAt(s.window, s.at)
	s.window = s.window[:got]
	if got < n {
		if err == nil || errors.Is(err, io.EOF) {
			return nil, &badBytes{fmt.Sprintf("the file ends at byte %d instead of %d", s.at+int64(got), s.end)}
		}
		return nil, fmt.Errorf("read %s at byte %d: %w", s.path, s.at, err)
	}
	return s.window[:n], nil
}

func isZero(b []byte) bool {
	for len(b) > len(zeroBlock) {
		if !bytes.Equal(b[:len(zeroBlock)], zeroBlock[:]) {
			return false
		}
		b = b[len(zeroBlock):]
	}
	return bytes.Equal(b, zeroBlock[:len(b)])
}

var zeroBlock [4096]byte
