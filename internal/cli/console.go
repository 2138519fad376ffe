package cli

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"strings"
	"sync"
)

const (
	consoleWidth  = 80
	consoleIndent = "               " // under the message
)

// console writes a log for people: the time of day, the level and the message, and what
// belongs to it as key=value, with line breaks between those and never within one.
type console struct {
	attrs slog.Handler // writes key=value to out.text
	out   *consoleOut  // shared with the handlers that WithAttrs and WithGroup return
}

type consoleOut struct {
	mu   sync.Mutex // guards what follows, and the order of lines
	text bytes.Buffer
	w    io.Writer
}

// NewConsole returns a handler that writes to w, 80 columns wide.
func NewConsole(w io.Writer) slog.Handler {
	out := &consoleOut{w: w}
	drop := func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey || a.Key == slog.MessageKey) {
			return slog.Attr{}
		}
		return a
	}
	return &console{attrs: slog.NewTextHandler(&out.text, &slog.HandlerOptions{ReplaceAttr: drop}), out: out}
}

// Enabled implements slog.Handler.
func (c *console) Enabled(ctx context.Context, level slog.Level) bool {
	return c.attrs.Enabled(ctx, level)
}

// WithAttrs implements slog.Handler.
func (c *console) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &console{attrs: c.attrs.WithAttrs(attrs), out: c.out}
}

// WithGroup implements slog.Handler.
func (c *console) WithGroup(name string) slog.Handler {
	return &console{attrs: c.attrs.WithGroup(name), out: c.out}
}

// Handle implements slog.Handler.
func (c *console) Handle(ctx context.Context, r slog.Record) error {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	c.out.text.Reset()
	if err := c.attrs.Handle(ctx, r); err != nil {
		return err
	}
	line := r.Time.Format("15:04:05") + " " + r.Level.String()
	line += strings.Repeat(" ", max(1, len(consoleIndent)-len(line))) + r.Message
	var lines strings.Builder
	for _, pair := range pairs(strings.TrimSuffix(c.out.text.String(), "\n")) {
		if len(line)+1+len(pair) > consoleWidth {
			lines.WriteString(line + "\n")
			line = consoleIndent + pair
			continue
		}
		line += " " + pair
	}
	lines.WriteString(line + "\n")
	_, err := io.WriteString(c.out.w, lines.String())
	return err
}

// pairs splits a line of slog's text format between its key=value, some of which are
// quoted as Go strings are.
func pairs(line string) (all []string) {
	quoted, begin := false, 0
	for i := 0; i < len(line); i++ {
		switch {
		case quoted && line[i] == '\\':
			i++ // what it quotes
		case line[i] == '"':
			quoted = !quoted
		case line[i] == ' ' && !quoted:
			all = append(all, line[begin:i])
			begin = i + 1
		}
	}
	if begin < len(line) {
		all = append(all, line[begin:])
	}
	return all
}
