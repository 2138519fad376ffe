package lines

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestReader(t *testing.T) {
	for _, c := range []struct {
		name     string
		in       string
		limit    int
		want     []string
		cutShort bool
		tooLong  int64 // line number
	}{
		{name: "empty stream has no line", in: "", limit: 5},
		{name: "one newline is one empty message", in: "\n", limit: 5, want: []string{""}},
		{name: "lines without their newlines", in: "a\nbb\n", limit: 5, want: []string{"a", "bb"}},
		{name: "stream that ends in a line is delivered and told", in: "a\nbb", limit: 5, want: []string{"a", "bb"}, cutShort: true},
		{name: "carriage return is part of the message", in: "a\r\n", limit: 5, want: []string{"a\r"}},
		{name: "line just as long as the limit", in: "12345\n12345", limit: 5, want: []string{"12345", "12345"}, cutShort: true},
		{name: "line one byte over the limit", in: "a\n123456\nb\n", limit: 5, want: []string{"a"}, tooLong: 2},
		{name: "last line over the limit without newline", in: "123456", limit: 5, tooLong: 1},
		{name: "bytes that are no text", in: "\x00\xff\n\xfe", limit: 5, want: []string{"\x00\xff", "\xfe"}, cutShort: true},
		{name: "line longer than the buffer", in: strings.Repeat("x", 200_000) + "\ny\n", limit: 200_000, want: []string{strings.Repeat("x", 200_000), "y"}},
	} {
		for how, wrap := range map[string]func(io.Reader) io.Reader{"whole": func(r io.Reader) io.Reader { return r }, "bytewise": iotest.OneByteReader, "data with error": iotest.DataErrReader} {
			t.Run(c.name+"/"+how, func(t *testing.T) {
				r := NewReader(wrap(strings.NewReader(c.in)), c.limit)
				got, err := all(r)
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Error(diff)
				}
				if r.CutShort() != c.cutShort {
					t.Errorf("CutShort = %v", r.CutShort())
				}
				var long *TooLongError
				if c.tooLong != 0 && (!errors.As(err, &long) || long.Number != c.tooLong || r.Number() != c.tooLong) {
					t.Errorf("error is %v at line %d, want line %d too long", err, r.Number(), c.tooLong)
				} else if c.tooLong == 0 && (!errors.Is(err, io.EOF) || r.Number() != int64(len(c.want))) {
					t.Errorf("error is %v after %d lines, want EOF after %d", err, r.Number(), len(c.want))
				}
			})
		}
	}
}

func TestReaderReportsReadErrors(t *testing.T) {
	broken := errors.New("cable cut")
	r := NewReader(io.MultiReader(strings.NewReader("a\nb"), iotest.ErrReader(broken)), 10)
	got, err := all(r)
	if !errors.Is(err, broken) || len(got) != 1 {
		t.Errorf("got %q and %v, want one line and %v", got, err, broken)
	}
}

func TestSplitPiecesJoinToTheStream(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.SliceOf(rapid.SampledFrom([]byte("ab\n"))).Draw(t, "text")
		limit := rapid.IntRange(1, 4).Draw(t, "limit")
		r := NewReader(bytes.NewReader(text), limit)
		r.SplitLong = true
		var joined []byte
		last := int64(0)
		for {
			line, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil || len(line) > limit {
				t.Fatalf("line %q, error %v", line, err)
			}
			if r.Number() != last && last != 0 {
				joined = append(joined, '\n')
			}
			last = r.Number()
			joined = append(joined, line...)
		}
		if last > 0 && !r.CutShort() {
			joined = append(joined, '\n')
		}
		if !bytes.Equal(joined, text) {
			t.Fatalf("joined %q, want %q", joined, text)
		}
	})
}

func all(r *Reader) (got []string, err error) {
	for {
		line, err := r.Next()
		if err != nil {
			return got, err
		}
		got = append(got, string(line))
	}
}
