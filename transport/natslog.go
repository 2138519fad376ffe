package transport

import (
	"fmt"
	"log/slog"
	"strings"
)

// natsLog hands the NATS server's log lines to ours. Its notices are debug
// messages to us: what an operator has to know, the broker says itself.
type natsLog struct {
	log   *slog.Logger
	fatal chan string            // the first fatal line; the server goes on after it
	own   func(line string) bool // it is about a connection of the broker's own
}

// connection stands before the id of the connection that a line of the server is about.
const connection = " - cid:"

// ofClient reports whether a line is about the connection of a client. The server knows no
// address and writes one for each error; the front tells of them with the address, and in
// bounded number.
func (l *natsLog) ofClient(format string) bool {
	return strings.Contains(format, connection) && !l.own(format)
}

// Noticef implements server.Logger.
func (l *natsLog) Noticef(format string, v ...any) {
	l.log.Debug("nats server", "text", fmt.Sprintf(format, v...))
}

// Warnf implements server.Logger. That it slows down a publisher whose subscribers are slow is
// what it should do, and no warning.
func (l *natsLog) Warnf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	if l.ofClient(format) {
		return
	}
	if strings.Contains(text, "Readloop processing time") || strings.Contains(text, "Producer was stalled") {
		return
	}
	l.log.Warn("nats server", "text", text)
}

// Errorf implements server.Logger.
func (l *natsLog) Errorf(format string, v ...any) {
	if l.ofClient(format) {
		return
	}
	l.log.Error("nats server", "text", fmt.Sprintf(format, v...))
}

// Fatalf implements server.Logger.
func (l *natsLog) Fatalf(format string, v ...any) {
	select {
	case l.fatal <- fmt.Sprintf(format, v...):
	default:
		l.Errorf(format, v...)
	}
}

// Debugf implements server.Logger; it is switched off.
func (l *natsLog) Debugf(string, ...any) {}

// Tracef implements server.Logger; it is switched off.
func (l *natsLog) Tracef(string, ...any) {}
