package cli

import (
	"strings"
	"testing"
	"time"
)

func TestProgressWritesSeldomToALog(t *testing.T) {
	var w strings.Builder
	p := NewProgress(&w)
	clock := p.last
	p.now = func() time.Time { return clock }
	for range 11 {
		clock = clock.Add(time.Second)
		if p.Due() {
			p.Show("after %s", clock.Sub(p.last))
		}
	}
	p.Done()
	if want := "after 5s\nafter 5s\n"; w.String() != want {
		t.Errorf("got %q, want %q", w.String(), want)
	}
}

func TestProgressRewritesATerminalsLine(t *testing.T) {
	var w strings.Builder
	p := NewProgress(&w)
	p.terminal = true
	p.Show("%d", 1)
	p.Show("%d", 2)
	p.Done()
	p.Done()
	if want := "\r\x1b[K1\r\x1b[K2\r\x1b[K"; w.String() != want {
		t.Errorf("got %q, want %q", w.String(), want)
	}
}
