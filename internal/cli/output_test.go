package cli

import (
	"errors"
	"os"
	"testing"
)

func TestOutputTellsAClosedPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close() }() // its reader has gone
	out := Output{W: w}
	if n, err := out.Write([]byte("a")); n != 1 || err != nil {
		t.Errorf("wrote %d, %v", n, err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Write([]byte("b")); !errors.Is(err, ErrOutputClosed) {
		t.Errorf("after the reader has gone: %v", err)
	}
}
