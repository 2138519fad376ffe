package group

import "testing"

func TestPlacesKnowTheEpochBeforeThem(t *testing.T) {
	m := EpochMark{First: 10, Epoch: 2, Before: 1}
	if m.At(9) != (Place{9, 1}) || m.At(10) != (Place{10, 2}) {
		t.Errorf("%v %v", m.At(9), m.At(10))
	}
	for _, c := range []struct {
		a, b   Place
		beyond bool
	}{
		{Place{5, 1}, Place{4, 1}, true},
		{Place{5, 1}, Place{5, 1}, false},
		{Place{3, 2}, Place{5, 1}, true}, // of a log that lost its end after b
		{Place{3, 2}, Place{5, 0}, false},
		{Place{0, 0}, Place{}, false},
	} {
		if got := c.a.Beyond(c.b); got != c.beyond {
			t.Errorf("%v beyond %v: %v", c.a, c.b, got)
		}
	}
}
