package front

import "bytes"

// The protocol's operations that matter here; all others are opOther.
type op int

const (
	opNone op = iota // no whole line
	opOther
	opPub
	opHeaderPub
	opSub
	opUnsub
	opConnect
	opMsg
	opHeaderMsg
	opPing
	opPong
	opOK
	opErr
)

const pub = "PUB "

// opOf says what a line is. Names of operations are in either case, as the server
// takes them.
func opOf(line []byte) op {
	if len(line) > len(pub) && string(line[:len(pub)]) == pub {
		return opPub // as libraries say it
	}
	word := withoutEnd(line)
	for i, c := range word {
		if blank(c) {
			word = word[:i]
			break
		}
	}
	switch {
	case is(word, "PUB"):
		return opPub
	case is(word, "HPUB"):
		return opHeaderPub
	case is(word, "SUB"):
		return opSub
	case is(word, "UNSUB"):
		return opUnsub
	case is(word, "MSG"):
		return opMsg
	case is(word, "HMSG"):
		return opHeaderMsg
	case begins(word, "PING"):
		return opPing
	case begins(word, "PONG"):
		return opPong
	case begins(word, "+OK"):
		return opOK
	case is(word, "-ERR"):
		return opErr
	case begins(word, "CONNECT"):
		return opConnect
	default:
		return opOther
	}
}

// unambiguous says whether a client's line can be understood in one way only. The server
// refuses long lines, and takes a carriage return within a line in several ways.
func unambiguous(line []byte) bool {
	return len(line) <= maxLine && bytes.IndexByte(withoutEnd(line), '\r') < 0
}

// withoutEnd is a line without its LF or CR LF. Each line is asked several times, so no
// function is called for it.
func withoutEnd(line []byte) []byte {
	if n := len(line); n > 0 && line[n-1] == '\n' {
		line = line[:n-1]
	}
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	return line
}

// isWhole says whether a publication ends as it should.
func isWhole(publication []byte) bool {
	n := len(publication)
	return n >= len(lineEnd) && publication[n-2] == lineEnd[0] && publication[n-1] == lineEnd[1]
}

// is says whether word is the name in either case.
func is(word []byte, name string) bool {
	if len(word) != len(name) {
		return false
	}
	for i, c := range word {
		if c != name[i] && (c&^0x20 != name[i] || c < 'a') {
			return false
		}
	}
	return true
}

// begins reports whether word begins with the name in either case. The server does not look
// at what stands behind some of its words.
func begins(word []byte, name string) bool {
	return len(word) >= len(name) && is(word[:len(name)], name)
}

// most is the largest number of fields of a line.
const most = 6

// fields are the parts of a line behind its operation. They share its bytes.
type fields struct {
	all [most][]byte
	n   int
}

// split takes a line apart; ok is false when it has too many parts.
func (f *fields) split(line []byte) (ok bool) {
	f.n = 0
	line = withoutEnd(line)
	tabs := bytes.IndexByte(line, '\t') >= 0
	for line = line[partEnd(line, tabs):]; ; { // behind the operation
		for len(line) > 0 && blank(line[0]) {
			line = line[1:]
		}
		if len(line) == 0 {
			return true
		}
		if f.n == most {
			return false
		}
		end := partEnd(line, tabs)
		f.all[f.n] = line[:end]
		f.n++
		line = line[end:]
	}
}

// partEnd is where the first part of a line ends.
func partEnd(line []byte, tabs bool) (end int) {
	if tabs {
		end = bytes.IndexAny(line, blanks)
	} else {
		end = bytes.IndexByte(line, ' ')
	}
	if end < 0 {
		return len(line)
	}
	return end
}

// blanks stand between the parts of a line.
const blanks = " \t"

func blank(c byte) bool { return c == ' ' || c == '\t' }

// digits is the length of the longest number that the server reads.
const digits = 9

// number reads a decimal without sign; -1 when it is none, or above limit.
func number(b []byte, limit int) int {
	if len(b) == 0 || len(b) > digits {
		return -1
	}
	n := 0
	for _, c := range b {
		if c < '0' || c > '9' {
			return -1
		}
		if n = n*10 + int(c-'0'); n > limit {
			return -1
		}
	}
	return n
}

// publication is a parsed PUB or HPUB line. It shares the line's bytes.
type publication struct {
	subject, reply []byte // reply is empty when nobody waits for an answer
	header         int    // bytes of the header block
	size           int    // bytes of header block and payload
}

// parsePublication reads a PUB or HPUB line; ok is false for what the server has
// to judge.
func parsePublication(o op, line []byte, maxPayload int) (p publication, ok bool) {
	var f fields
	ok = f.split(line)
	sizes := 1
	if o == opHeaderPub {
		sizes = 2
	}
	if !ok || f.n < 1+sizes || f.n > 2+sizes {
		return p, false
	}
	p.subject = f.all[0]
	if f.n == 2+sizes {
		p.reply = f.all[1]
	}
	p.size = number(f.all[f.n-1], maxPayload)
	if sizes == 2 {
		p.header = number(f.all[f.n-2], maxPayload)
	}
	return p, p.size >= 0 && p.header >= 0 && p.header <= p.size
}

// like knows how PUB lines of one subject and inbox begin. Those that libraries send are
// alike up to the last part of the reply subject, and are read with one comparison.
type like struct {
	text    []byte
	subject []byte // in text
	reply   int    // where the reply subject begins in text
}

// begin takes the line of p as the one that others are like.
func (l *like) begin(p *publication) {
	l.text = append(append(append(l.text[:0], pub...), p.subject...), ' ')
	l.reply = len(l.text)
	l.subject = l.text[len(pub) : l.reply-1]
	l.text = append(l.text, p.reply[:bytes.LastIndexByte(p.reply, '.')+1]...)
}

// again reads a PUB line at the beginning of b, size bytes, if it is like the last one, and
// as libraries write them. It says nothing about any other.
func (l *like) again(b []byte, maxPayload int) (p publication, size int, ok bool) {
	if len(l.text) == l.reply || !bytes.HasPrefix(b, l.text) {
		return p, 0, false
	}
	end := graphicEnd(b, len(l.text))
	last := graphicEnd(b, min(end+1, len(b)))
	size = last + len(lineEnd)
	if size > min(len(b), maxLine) || b[end] != ' ' || !isWhole(b[:size]) {
		return p, 0, false
	}
	p.subject, p.reply, p.size = l.subject, b[l.reply:end], number(b[end+1:last], maxPayload)
	return p, size, p.size >= 0
}

// graphicEnd is where the bytes above the blank end that begin at from.
func graphicEnd(b []byte, from int) int {
	for from < len(b) && b[from] > ' ' {
		from++
	}
	return from
}

// delivered returns the bytes that follow a MSG or HMSG line, with their line end.
// Their number is behind the last blank; a subject may contain about everything else.
func delivered(line []byte) int {
	line = withoutEnd(line)
	return max(0, number(line[bytes.LastIndexAny(line, blanks)+1:], 1<<30)) + len(lineEnd)
}

const lineEnd = "\r\n"
