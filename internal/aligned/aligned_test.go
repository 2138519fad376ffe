package aligned_test

import (
	"testing"

	"metaq/internal/aligned"
)

func TestBlocksAroundAPart(t *testing.T) {
	const block = aligned.Block
	around := aligned.New(4 * block)
	if aligned.Misaligned(around) != 0 || len(around) != 4*block || cap(around) != len(around) {
		t.Fatalf("%d bytes, misaligned by %d", len(around), aligned.Misaligned(around))
	}
	for _, tc := range []struct {
		what        string
		from, n     int
		lead        int
		first, last int // bytes of around that are returned; 0: none
	}{
		{"all of it", 0, 4 * block, 0, 0, 4 * block},
		{"within one block", 10, 20, 10, 0, block},
		{"over a border", 10, block, 10, 0, 2 * block},
		{"in later blocks", block + 5, 2*block - 5, 5, block, 3 * block},
		{"up to the end", 3*block + 1, block - 1, 1, 3 * block, 4 * block},
		{"elsewhere in its block", 10, 20, 11, 0, 0},
		{"at a border, and not wanted there", 0, 20, 10, 0, 0},
	} {
		b := around[tc.from:][:tc.n]
		got := aligned.Within(around, b, tc.lead)
		switch {
		case tc.last == 0 && got != nil:
			t.Errorf("%s: %d bytes", tc.what, len(got))
		case tc.last > 0 && (len(got) != tc.last-tc.first || &got[0] != &around[tc.first]):
			t.Errorf("%s: %d bytes", tc.what, len(got))
		}
	}
	for what, b := range map[string][]byte{
		"a part whose capacity was cut": around[0:block:block],
		"memory from elsewhere":         make([]byte, block, 2*block),
		"nothing":                       around[block:block],
	} {
		if got := aligned.Within(around, b, 0); got != nil {
			t.Errorf("%s: %d bytes", what, len(got))
		}
	}
	off := aligned.New(3 * block)[1 : 2*block+1]
	if got := aligned.Within(off, off, 0); got != nil {
		t.Errorf("%d bytes of memory that is not aligned", len(got))
	}
	short := around[:block+10]
	if got := aligned.Within(short, short[block:], 0); got != nil {
		t.Errorf("%d bytes where the last block is not whole", len(got))
	}
	if got := aligned.Within(nil, []byte("x"), 0); got != nil {
		t.Error("something lies around what lies nowhere")
	}
}
