package front

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// The tree finds what a comparison with each filter finds.
func TestFiltersFindWhatMatches(t *testing.T) {
	token := rapid.SampledFrom([]string{"a", "b", "c", "*"})
	filter := rapid.Custom(func(t *rapid.T) string {
		f := strings.Join(rapid.SliceOfN(token, 1, 4).Draw(t, "tokens"), ".")
		if rapid.Bool().Draw(t, "rest") {
			f += ".>"
		}
		return f
	})
	subject := rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "d"}), 1, 6).Draw(t, "tokens"), ".")
	})
	rapid.Check(t, func(t *rapid.T) {
		var f Filters[string]
		all := rapid.SliceOfN(filter, 0, 6).Draw(t, "filters")
		for _, one := range all {
			f.Add(one, one)
		}
		s, want := subject.Draw(t, "subject"), false
		for _, one := range all {
			want = want || matches(one, s)
		}
		found := f.Find([]byte(s))
		if (found != nil) != want || found != nil && !matches(*found, s) {
			t.Fatalf("%s under %q: found %v, want %v", s, all, found, want)
		}
	})
}

func TestFiltersTakeLiteralSubjectsOnly(t *testing.T) {
	var f Filters[int]
	f.Add("orders.>", 1)
	f.Add(">", 2)
	for _, s := range []string{"orders.>", "orders.*.x", "*", ">", "", "orders.", ".orders", "orders..x"} {
		if f.Find([]byte(s)) != nil {
			t.Errorf("%q was found", s)
		}
	}
	if v := f.Find([]byte("orders.a>.*b")); v == nil || *v != 1 {
		t.Error("these are no wildcards")
	}
	if (*Filters[int])(nil).Find([]byte("a")) != nil {
		t.Error("nothing was added")
	}
}

// Thousands of filters cost about what one costs.
func BenchmarkFilters(b *testing.B) {
	for _, n := range []int{1, 4096} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var f Filters[int]
			for i := range n {
				f.Add(fmt.Sprintf("f%d.%d.*", i%64, i), i)
			}
			subject := []byte("f1.core.x")
			b.ReportAllocs()
			for b.Loop() {
				f.Find(subject)
			}
		})
	}
}
