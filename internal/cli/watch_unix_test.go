//go:build unix

package cli

import (
	"os"
	"testing"
	"time"
)

func TestWatchOutputSeesTheReaderGo(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close() }() // its reader has gone
	closed := make(chan struct{})
	stop := watchOutput(w, func() { close(closed) })
	defer stop()
	select {
	case <-closed:
		t.Fatal("the reader is still there")
	case <-time.After(3 * watchEvery):
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-closed:
	case <-time.After(10 * time.Second):
		t.Fatal("nobody has told that the reader has gone")
	}
}

func TestWatchOutputLeavesFilesAlone(t *testing.T) {
	f, err := os.Create(t.TempDir() + "/out")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // nothing was written
	watchOutput(f, func() { t.Error("a file has no reader that could go") })()
}
