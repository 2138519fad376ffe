package actors

import (
	"context"
	"log/slog"
)

// quiet turns the library's informational messages into debug messages: it
// tells of each actor system and each dead letter at the level that our
// operators read.
type quiet struct{ next slog.Handler }

func (q quiet) level(l slog.Level) slog.Level {
	if l < slog.LevelError {
		return slog.LevelDebug
	}
	return l
}

// Enabled implements slog.Handler.
func (q quiet) Enabled(ctx context.Context, l slog.Level) bool {
	return q.next.Enabled(ctx, q.level(l))
}

// Handle implements slog.Handler.
func (q quiet) Handle(ctx context.Context, r slog.Record) error {
	r.Level = q.level(r.Level)
	return q.next.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (q quiet) WithAttrs(attrs []slog.Attr) slog.Handler { return quiet{q.next.WithAttrs(attrs)} }

// WithGroup implements slog.Handler.
func (q quiet) WithGroup(name string) slog.Handler { return quiet{q.next.WithGroup(name)} }

// IgnoreDeadLetter is part of messages that a timer may send to an actor that has stopped
// meanwhile: the library need not tell of it.
type IgnoreDeadLetter struct{}

// IgnoreDeadLetterLogging marks the message for the library.
func (IgnoreDeadLetter) IgnoreDeadLetterLogging() {}
