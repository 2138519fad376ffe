package lines

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// TooLongError says which line is longer than the limit.
type TooLongError struct {
	Number int64 // of the line, from 1
	Limit  int   // bytes
}

// Error names the line, the limit and what to do.
func (e *TooLongError) Error() string {
	return fmt.Sprintf("line %d is longer than the %d bytes that a message may have; split it, or raise maxMessageSize of the broker", e.Number, e.Limit)
}

// Reader gives the lines of a stream. A line ends with a newline, which does
// not belong to it; a carriage return before it does. It is used from one
// goroutine.
type Reader struct {
	// SplitLong gives a line longer than the limit in pieces of the limit's
	// size; otherwise such a line is a *TooLongError.
	SplitLong bool

	buf     *bufio.Reader
	limit   int
	number  int64
	cut     bool
	inPiece bool
}

// NewReader returns a Reader of r for lines of at most limit bytes; limit is at
// least 1.
func NewReader(r io.Reader, limit int) *Reader {
	return &Reader{buf: bufio.NewReaderSize(r, max(16, min(limit+1, 1<<16))), limit: limit}
}

// Next returns the next line as a slice of its own, and io.EOF after the last.
// Every other error is final, too.
func (r *Reader) Next() ([]byte, error) {
	counted := r.inPiece
	r.inPiece = false
	line := []byte{} // an empty line is an empty message, not none
	for {
		// One byte more than the limit tells a line that is just long enough and
		// its newline from one that is too long.
		chunk, err := r.peek(r.limit + 1 - len(line))
		if err == nil && !counted {
			r.number++
			counted = true
		}
		if n := bytes.IndexByte(chunk, '\n'); n >= 0 {
			line = append(line, chunk[:n]...)
			_, _ = r.buf.Discard(n + 1) // it is in the buffer
			return line, nil
		}
		if len(line)+len(chunk) > r.limit {
			return r.tooLong(line, chunk)
		}
		line = append(line, chunk...)
		_, _ = r.buf.Discard(len(chunk)) // it is in the buffer
		switch {
		case err == nil:
		case errors.Is(err, io.EOF) && len(line) > 0:
			r.cut = true
			return line, nil
		default:
			return nil, err
		}
	}
}

// peek returns at most n of the bytes that come next, at least one unless there
// is an error.
func (r *Reader) peek(n int) ([]byte, error) {
	if _, err := r.buf.Peek(1); err != nil {
		return nil, err
	}
	chunk, _ := r.buf.Peek(min(n, r.buf.Buffered())) // no error: it is in the buffer
	return chunk, nil
}

func (r *Reader) tooLong(line, chunk []byte) ([]byte, error) {
	if !r.SplitLong {
		return nil, &TooLongError{Number: r.number, Limit: r.limit}
	}
	rest := r.limit - len(line)
	line = append(line, chunk[:rest]...)
	_, _ = r.buf.Discard(rest) // it is in the buffer
	r.inPiece = true
	return line, nil
}

// Number is the number of the line that Next returned last, from 1.
func (r *Reader) Number() int64 { return r.number }

// CutShort says that the stream ended in the middle of the last line: it had no
// newline.
func (r *Reader) CutShort() bool { return r.cut }
