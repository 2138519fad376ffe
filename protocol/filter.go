package protocol

import (
	"fmt"
	"strings"
)

// MaxFilter is the longest filter of subjects, in bytes.
const MaxFilter = 1024

// CheckFilter returns nil when filter names subjects that a topic may listen to:
// tokens with dots between them, * for one token, > at the end for one or more,
// and none that the system or NATS itself uses.
func (s Subjects) CheckFilter(filter string) error {
	tokens := strings.Split(filter, ".")
	if filter == "" || len(filter) > MaxFilter {
		return fmt.Errorf("subject %q has %d bytes; use 1-%d, such as orders.>", clip(filter), len(filter), MaxFilter)
	}
	for i, token := range tokens {
		wrong := token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r == 0x7f || r == ',' || r == 0xfffd })
		wild := strings.ContainsAny(token, "*>")
		if wrong || wild && len(token) > 1 || token == ">" && i < len(tokens)-1 {
			return fmt.Errorf("subject %q is not a NATS subject; write tokens with dots between, * for one token, > at the end for all that follow", clip(filter))
		}
	}
	for _, own := range []string{s.prefix() + ".>", s.prefix()} {
		if FiltersOverlap(filter, own) {
			return fmt.Errorf("subject %q takes in %s, which is not for topics; begin it with a token of your own", clip(filter), own)
		}
	}
	if strings.HasPrefix(filter, "$") || strings.HasPrefix(filter, "_INBOX") || tokens[0] == "*" || tokens[0] == ">" {
		return fmt.Errorf("subject %q takes in subjects of NATS itself; begin it with a token of your own", clip(filter))
	}
	return nil
}

// FiltersOverlap says whether there is a subject that both filters take in. Both
// are well formed.
func FiltersOverlap(a, b string) bool {
	for {
		x, restA, moreA := strings.Cut(a, ".")
		y, restB, moreB := strings.Cut(b, ".")
		switch {
		case x == ">" || y == ">":
			return true
		case x != y && x != "*" && y != "*":
			return false
		case !moreA || !moreB:
			return moreA == moreB
		}
		a, b = restA, restB
	}
}

// SubjectToken returns the n-th token of a subject, from 1, and whether it has
// that many.
func SubjectToken(subject string, n int) (string, bool) {
	for ; n > 1; n-- {
		_, rest, more := strings.Cut(subject, ".")
		if !more {
			return "", false
		}
		subject = rest
	}
	token, _, _ := strings.Cut(subject, ".")
	return token, n == 1
}
