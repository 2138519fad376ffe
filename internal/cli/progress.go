package cli

import (
	"fmt"
	"io"
	"os"
	"time"
)

// Progress rewrites one line of a terminal while work goes on. Where stderr is
// not a terminal it writes a line every few seconds, so that a log stays short.
// It is used from one goroutine.
type Progress struct {
	w        io.Writer
	terminal bool
	every    time.Duration
	last     time.Time
	now      func() time.Time
	drawn    bool
}

// NewProgress returns a Progress on w.
func NewProgress(w io.Writer) *Progress {
	p := &Progress{w: w, every: 5 * time.Second, now: time.Now}
	if IsTerminal(w) {
		p.terminal, p.every = true, 100*time.Millisecond
	}
	p.last = p.now()
	return p
}

// Due says whether enough time has passed for another Show. Ask it before
// gathering what Show would print.
func (p *Progress) Due() bool { return p.now().Sub(p.last) >= p.every }

// Show prints the text now. A write that fails is not reported: progress is a
// courtesy.
func (p *Progress) Show(format string, args ...any) {
	p.last = p.now()
	if p.terminal {
		p.drawn = true
		_, _ = fmt.Fprintf(p.w, "\r\x1b[K"+format, args...)
		return
	}
	_, _ = fmt.Fprintf(p.w, format+"\n", args...)
}

// Done clears the line, so that what follows starts at the margin.
func (p *Progress) Done() {
	if p.drawn {
		p.drawn = false
		_, _ = io.WriteString(p.w, "\r\x1b[K")
	}
}

// IsTerminal reports whether w is a terminal that can rewrite a line.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" { // which cannot rewrite a line
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
