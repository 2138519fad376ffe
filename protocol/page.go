package protocol

import "encoding/json"

// Lists that may be larger than one NATS message are answered in pages: a request may say
// `after` and `limit`, and the answer says `next` when more entries follow. To get the rest,
// ask again with after = next. What next looks like is the broker's affair.

// Page is the part of a list that a request asks for.
type Page struct {
	After string // the next of the answer before; empty: from the beginning
	Limit int    // most entries; 0: as many as fit
}

// maxAfter bounds Page.After: the longest is a kind, a topic and a partition.
const maxAfter = 200

// Check returns a refusal when a field cannot be used.
func (p Page) Check() error {
	if p.Limit < 0 {
		return ErrBadRequest.With("limit %d is negative", p.Limit)
	}
	if len(p.After) > maxAfter {
		return ErrBadRequest.With("after has %d characters, more than any next: use the next of the answer before", len(p.After))
	}
	for i := range len(p.After) {
		if p.After[i] <= ' ' || p.After[i] > '~' {
			return ErrBadRequest.With("after %q is no next of an answer", p.After)
		}
	}
	return nil
}

// Listing says how a list is cut into pages. Its entries are sorted.
type Listing[T any] struct {
	Name    func(*T) string             // the next of a page that ends with the entry
	Follows func(*T, string) bool       // the entry comes after the one of that name
	Known   func(string) (reason error) // optional: why a name cannot be one of the list's
}

// Cut returns the entries of a page, as many of them as fit into room bytes of JSON, and the
// next of the answer: empty when no more follow. The first entry of a page always has to
// fit; ErrAnswerSize otherwise.
func (l Listing[T]) Cut(all []T, p Page, room int) (page []T, next string, err error) {
	if l.Known != nil && p.After != "" {
		if err := l.Known(p.After); err != nil {
			return nil, "", ErrBadRequest.With("after %q is no next of an answer: %v", p.After, err)
		}
	}
	page = []T{}
	for i := range all {
		if p.After != "" && !l.Follows(&all[i], p.After) {
			continue
		}
		full := p.Limit > 0 && len(page) == p.Limit
		if !full {
			entry, err := json.Marshal(all[i])
			if err != nil {
				return nil, "", err
			}
			room -= len(entry) + 1 // a comma
			full = room < 0
		}
		if full && len(page) == 0 {
			return nil, "", ErrAnswerSize.With("the request was carried out, but entry %s of the answer does not fit into one NATS message: raise maxPayload", l.Name(&all[i]))
		}
		if full {
			return page, l.Name(&page[len(page)-1]), nil
		}
		page = append(page, all[i])
	}
	return page, "", nil
}

// EachPage asks for the pages of a list, one after the other, until none follows: ask asks
// for the one after a name and returns the next.
func EachPage(ask func(after string) (next string, err error)) error {
	for after := ""; ; {
		next, err := ask(after)
		if err != nil || next == "" {
			return err
		}
		if next == after {
			return ErrInternal.With("a page says that the next one is itself: %q", next)
		}
		after = next
	}
}
