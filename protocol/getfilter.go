package protocol

import "strings"

// Filter selects messages by one header: one of its values equals Equals, or
// begins with Prefix. Exactly one of the two is set. The header HeaderKey stands
// for the message's key.
type Filter struct {
	Header string  `json:"header"`
	Equals *string `json:"equals,omitempty"`
	Prefix *string `json:"prefix,omitempty"`
}

// Check returns a refusal when the filter is not one.
func (f *Filter) Check() error {
	switch {
	case f.Header == "":
		return ErrBadRequest.With("filter has no header")
	case (f.Equals == nil) == (f.Prefix == nil):
		return ErrBadRequest.With(`filter wants "equals" or "prefix", and not both`)
	}
	return nil
}

// Match says whether the filter selects r.
func (f *Filter) Match(r *Record) bool {
	if f.Header == HeaderKey && r.Key != nil && f.matchValue(string(r.Key)) {
		return true
	}
	for i := range r.Headers {
		if r.Headers[i].Name == f.Header && f.matchValue(r.Headers[i].Value) {
			return true
		}
	}
	return false
}

func (f *Filter) matchValue(v string) bool {
	if f.Equals != nil {
		return v == *f.Equals
	}
	return f.Prefix != nil && strings.HasPrefix(v, *f.Prefix)
}
