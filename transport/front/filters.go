package front

import "bytes"

// Filters finds the filter, with wildcards, that a subject falls under. It is a tree of the
// filters' tokens, so a search takes as many steps as the subject has tokens, and not as many
// as there are filters: every message of every client is looked at. It is built once and then
// only read, from any goroutine.
type Filters[T any] struct{ root node[T] }

// node is what may follow some tokens.
type node[T any] struct {
	next map[string]*node[T] // by literal token
	any  *node[T]            // after *
	here *T                  // of a filter that ends here
	rest *T                  // of one that ends in > here
}

// Add adds a filter. Of two that take in the same subject either may be found.
func (f *Filters[T]) Add(filter string, v T) {
	n := &f.root
	for rest, more := []byte(filter), true; more; {
		var token []byte
		token, rest, more = bytes.Cut(rest, []byte{'.'})
		switch {
		case string(token) == ">" && !more:
			n.rest = &v
			return
		case string(token) == "*":
			if n.any == nil {
				n.any = new(node[T])
			}
			n = n.any
		default:
			if n.next == nil {
				n.next = make(map[string]*node[T])
			}
			if n.next[string(token)] == nil {
				n.next[string(token)] = new(node[T])
			}
			n = n.next[string(token)]
		}
	}
	n.here = &v
}

// Find returns what was added with a filter for subject, or nil. A subject is literal: with a
// wildcard or an empty token it falls under none.
func (f *Filters[T]) Find(subject []byte) *T {
	if f == nil {
		return nil
	}
	v := f.root.find(subject)
	if v == nil || !literal(subject) {
		return nil
	}
	return v
}

func (n *node[T]) find(subject []byte) *T {
	token, rest, more := subject, []byte(nil), false
	if i := bytes.IndexByte(subject, '.'); i >= 0 {
		token, rest, more = subject[:i], subject[i+1:], true
	}
	for _, next := range [...]*node[T]{n.next[string(token)], n.any} {
		switch {
		case next == nil:
		case !more && next.here != nil:
			return next.here
		case more:
			if v := next.find(rest); v != nil {
				return v
			}
		}
	}
	return n.rest
}

// literal reports whether no token of a subject is empty or a wildcard.
func literal(subject []byte) bool {
	for rest, more := subject, true; more; {
		var token []byte
		token, rest, more = bytes.Cut(rest, []byte{'.'})
		if len(token) == 0 || len(token) == 1 && (token[0] == '*' || token[0] == '>') {
			return false
		}
	}
	return true
}

// validFilter reports whether the server takes a subject for a subscription.
func validFilter(filter []byte) bool {
	for rest, more := filter, true; more; {
		var token []byte
		token, rest, more = bytes.Cut(rest, []byte{'.'})
		if len(token) == 0 || more && string(token) == ">" {
			return false
		}
	}
	return true
}
