package protocol

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// takesIn says by its definition whether a filter takes in a subject.
func takesIn(filter, subject []string) bool {
	if len(filter) == 0 || len(subject) == 0 {
		return len(filter) == len(subject)
	}
	if filter[0] == ">" {
		return true
	}
	return (filter[0] == "*" || filter[0] == subject[0]) && takesIn(filter[1:], subject[1:])
}

// Two filters overlap if and only if some subject is taken in by both: all
// subjects up to one token more than the filters have are tried.
func TestFiltersOverlapWhenASubjectIsInBoth(t *testing.T) {
	words := []string{"a", "b", "c"}
	var subjects [][]string
	var grow func([]string)
	grow = func(s []string) {
		if len(s) > 0 {
			subjects = append(subjects, append([]string(nil), s...))
		}
		if len(s) < 5 {
			for _, w := range words {
				grow(append(s, w))
			}
		}
	}
	grow(nil)
	filter := rapid.Custom(func(t *rapid.T) string {
		tokens := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "*"}), 1, 4).Draw(t, "tokens")
		if rapid.Bool().Draw(t, "open") {
			tokens[len(tokens)-1] = ">"
		}
		return strings.Join(tokens, ".")
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b := filter.Draw(t, "a"), filter.Draw(t, "b")
		want := false
		for _, s := range subjects {
			want = want || takesIn(strings.Split(a, "."), s) && takesIn(strings.Split(b, "."), s)
		}
		if FiltersOverlap(a, b) != want || FiltersOverlap(b, a) != want {
			t.Fatalf("%s and %s overlap: got %v, want %v", a, b, !want, want)
		}
	})
}

func TestWhatATopicMayListenTo(t *testing.T) {
	for filter, allowed := range map[string]bool{
		"orders": true, "orders.>": true, "billing.*": true, "a.*.b.>": true, "METAQ.x": true, "metaqx.>": true, "a.$b": true,
		"": false, ">": false, "*": false, "*.a": false, "orders.": false, ".a": false, "a..b": false, "a.>.b": false, "a.b*": false,
		"a b": false, "a,b": false, "metaq": false, "metaq.>": false, "metaq.put.t": false, "$SYS.>": false, "$JS.API.>": false,
		"_INBOX.>": false, "_INBOX": false, "_INBOX.a.b": false, strings.Repeat("a", 1025): false,
	} {
		if err := (Subjects{}).CheckFilter(filter); (err == nil) != allowed {
			t.Errorf("%.40q: %v", filter, err)
		}
	}
	own := Subjects{Prefix: "my.queue"}
	if err := own.CheckFilter("my.orders.>"); err != nil {
		t.Errorf("my.orders.> does not reach my.queue.put.t: %v", err)
	}
	if err := own.CheckFilter("my.>"); err == nil {
		t.Error("my.> takes in my.queue.put.t")
	}
}

func TestTokensOfASubject(t *testing.T) {
	for _, test := range []struct {
		n    int
		want string
		ok   bool
	}{{1, "orders", true}, {2, "eu", true}, {3, "17", true}, {4, "", false}, {0, "orders", false}} {
		if got, ok := SubjectToken("orders.eu.17", test.n); ok != test.ok || ok && got != test.want {
			t.Errorf("token %d is %q, %v", test.n, got, ok)
		}
	}
}
