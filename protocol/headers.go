package protocol

import (
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// A JetStream publish header whose meaning is not implemented is refused, never
// stored and ignored, whichever way a message comes.

// unsupported are the headers that ask for something that the broker does not do.
// A header that ends in * stands for all that begin so.
var unsupported = []struct {
	name string
	err  *Error
}{
	{"Nats-Rollup", ErrHeaderRollup},
	{"Nats-TTL", ErrHeaderTTL},
	{"Nats-Incr", ErrHeaderIncr},
	{"Nats-Batch-*", ErrHeaderBatch},
	{"Nats-Schedule*", ErrHeaderSched},
	{"Nats-Marker-Reason", ErrHeaderTTL},
	{"Nats-Counter-Sources", ErrHeaderIncr},
	{"Nats-Stream-Source", ErrHeaderSource},
	{"Nats-Expected-Last-Subject-*", ErrBadRequest},
	{"Nats-Required-Api-Level", ErrBadRequest},
}

// RefusedHeader returns why a message that is put must not have the header name,
// or nil.
func RefusedHeader(name string) *Error {
	if !utf8.ValidString(name) {
		return ErrBadRequest.With("header name %q is not UTF-8, so JSON cannot hold it: use ASCII", clip(name))
	}
	if !strings.HasPrefix(name, "Nats-") {
		return nil
	}
	for _, u := range unsupported {
		stem, many := strings.CutSuffix(u.name, "*")
		if name == stem || many && strings.HasPrefix(name, stem) {
			return u.err.With("header %s is not supported: leave it out", name)
		}
	}
	return nil
}

// RefusedInBatch returns why a record of a batch must not have the header name, or
// nil. Beyond RefusedHeader these are the headers that mean something in a put and
// nothing in a batch, whose producer has a sequence of its own and whose records
// have a field for the key.
func RefusedInBatch(name string) *Error {
	switch name {
	case HeaderKey:
		return ErrHeaderInBatch.With("header %s means nothing in a batch: give the record a key", name)
	case HeaderMsgID:
		return ErrHeaderInBatch.With("header %s means nothing in a batch, whose producer numbers its messages: leave it out, or put the message alone", name)
	case HeaderExpectStream, HeaderExpectSeq, HeaderExpectMsgID:
		return ErrHeaderInBatch.With("header %s means nothing in a batch: leave it out, or put the message alone", name)
	}
	return RefusedHeader(name)
}

// OriginalPrefix stands before the name of a header that a message had where it
// was read and must not have in a batch.
const OriginalPrefix = "Metaq-Original-"

// Passed returns the headers with which a message that was read is sent on in a
// batch: where RefusedInBatch has something against one, it is kept under
// OriginalPrefix and its name, whose bytes are escaped as in a URL when it is not UTF-8.
// It does not change headers.
func Passed(headers []Header) []Header {
	out := slices.Clone(headers)
	for i := range out {
		name := out[i].Name
		if RefusedInBatch(name) == nil {
			continue
		}
		if !utf8.ValidString(name) {
			name = url.PathEscape(name)
		}
		out[i].Name = OriginalPrefix + name
	}
	return out
}

// DeadPrefix begins the names of the headers that tell why a message is a dead
// letter.
const DeadPrefix = "Metaq-Dead-"

// maxAdded bounds what Added leaves out: it is no way around the limit.
const maxAdded = 8 << 10

// Added returns the bytes of a batch's record that do not count against the largest
// message: what dead letters and Passed add to headers. A message that was taken is
// thus small enough to be passed on.
func Added(headers []Header) int {
	n := 0
	for i := range headers {
		switch h := &headers[i]; {
		case strings.HasPrefix(h.Name, DeadPrefix):
			n += len(h.Name) + len(h.Value)
		case strings.HasPrefix(h.Name, OriginalPrefix):
			n += len(OriginalPrefix)
		}
	}
	return min(n, maxAdded)
}

// mayBeRefused is the cheap part of RefusedInBatch.
func mayBeRefused(name []byte) bool {
	return len(name) > 5 && (string(name[:5]) == "Nats-" || string(name) == HeaderKey) || !utf8.Valid(name)
}
