package configs

import (
	"fmt"
	"math"
	"math/big"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestNumbersAreExpressions(t *testing.T) {
	for text, want := range map[string]int64{
		"0":                        0,
		"42":                       42,
		"1024*1024*1024":           1 << 30,
		" 1 + 2 * 3 ":              7,
		"(1+2)*3":                  9,
		"10/4":                     2,
		"-7":                       -7,
		"2--3":                     5,
		"-(2+3)*2":                 -10,
		"100/10/5":                 2,
		"10-3-2":                   5,
		"9223372036854775807":      math.MaxInt64,
		"-9223372036854775807 - 1": math.MinInt64,
	} {
		if got, err := evaluate(text, false); err != nil || got != want {
			t.Errorf("%q = %d, %v; want %d", text, got, err, want)
		}
	}
}

func TestSizesCountBytes(t *testing.T) {
	for text, want := range map[string]int64{
		"1GiB": 1 << 30, "512KiB": 512 << 10, "64MB": 64e6, "3KB": 3000, "2GB": 2e9, "1TiB": 1 << 40, "1TB": 1e12, "5MiB": 5 << 20, "7B": 7, "7": 7,
		"2*512MiB": 1 << 30, "1GiB - 1": 1<<30 - 1, "(1+1)*1KiB": 2048, "1 * 4KiB": 4096,
	} {
		if got, err := evaluate(text, true); err != nil || got != want {
			t.Errorf("%q = %d, %v; want %d", text, got, err, want)
		}
	}
}

func TestWrongNumbersSayWhatToWrite(t *testing.T) {
	for text, want := range map[string]string{
		"":                                "a number is missing",
		"1+":                              "a number is missing",
		"x":                               `unexpected "x"`,
		"1 2":                             `unexpected "2"`,
		"(1":                              "a ) is missing",
		"1)":                              `unexpected ")"`,
		"1/0":                             "divided by zero",
		"1GiBs":                           `unexpected "s"`,
		"1gib":                            "512KiB, 1GiB, 64MB",
		"1G":                              "512KiB, 1GiB, 64MB",
		"1.5GiB":                          `unexpected ".5GiB"`,
		"9223372036854775808":             "beyond 64 bits",
		"9223372036854775807+1":           "beyond 64 bits",
		"-9223372036854775807-2":          "beyond 64 bits",
		"3037000500*3037000500":           "beyond 64 bits",
		"8388608TiB":                      "beyond 64 bits",
		"(-9223372036854775807-1)/-1":     "beyond 64 bits",
		"-1*(-9223372036854775807-1)":     "beyond 64 bits",
		"-(-9223372036854775807-1)":       "beyond 64 bits",
		strings.Repeat("(", 1_000_000):    "nested too deeply",
		strings.Repeat("-", 1_000_000):    "nested too deeply",
		strings.Repeat("9", 1000) + "\n;": "beyond 64 bits",
	} {
		_, err := parseInt(text, "bytes")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v; want %q", text, err, want)
		} else if strings.Contains(err.Error(), "\n") || len(err.Error()) > 300 {
			t.Errorf("%.40q: the error is not one short line: %q", text, err)
		}
	}
	if _, err := parseInt("1KiB", ""); err == nil || !strings.Contains(err.Error(), "whole number") {
		t.Errorf("a count took a size: %v", err)
	}
}

// An expression must give what exact arithmetic gives, or fail exactly when a
// step leaves 64 bits or divides by zero.
func TestExpressionsAgreeWithExactArithmetic(t *testing.T) {
	type node struct {
		text  string
		value *big.Int // nil: the expression must fail
	}
	leaf := rapid.Custom(func(t *rapid.T) node {
		n := rapid.OneOf(rapid.Int64Range(0, 20), rapid.Int64Range(0, math.MaxInt64)).Draw(t, "n")
		return node{fmt.Sprint(n), big.NewInt(n)}
	})
	var tree func(depth int) *rapid.Generator[node]
	tree = func(depth int) *rapid.Generator[node] {
		if depth == 0 {
			return leaf
		}
		return rapid.Custom(func(t *rapid.T) node {
			if rapid.IntRange(0, 4).Draw(t, "leaf") == 0 {
				return leaf.Draw(t, "n")
			}
			a, b := tree(depth-1).Draw(t, "a"), tree(depth-1).Draw(t, "b")
			op := rapid.SampledFrom([]string{"+", "-", "*", "/"}).Draw(t, "op")
			space := rapid.SampledFrom([]string{"", " ", "\t"}).Draw(t, "space")
			n := node{text: "(" + a.text + space + op + space + b.text + ")"}
			if a.value == nil || b.value == nil || op == "/" && b.value.Sign() == 0 {
				return n
			}
			v := new(big.Int)
			switch op {
			case "+":
				v.Add(a.value, b.value)
			case "-":
				v.Sub(a.value, b.value)
			case "*":
				v.Mul(a.value, b.value)
			case "/":
				v.Quo(a.value, b.value)
			}
			if v.IsInt64() {
				n.value = v
			}
			return n
		})
	}
	rapid.Check(t, func(t *rapid.T) {
		n := tree(4).Draw(t, "expression")
		got, err := evaluate(n.text, false)
		if (err == nil) != (n.value != nil) || err == nil && got != n.value.Int64() {
			t.Fatalf("%s = %d, %v; want %v", n.text, got, err, n.value)
		}
	})
}

func TestSizesAndTimesReadBackAsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		shift := rapid.IntRange(0, 40).Draw(t, "shift")
		n := rapid.Int64Range(0, math.MaxInt64>>shift).Draw(t, "n") << shift
		if got, err := evaluate(formatSize(n), true); err != nil || got != n {
			t.Fatalf("%d became %s, which is %d, %v", n, formatSize(n), got, err)
		}
		d := time.Duration(n)
		if got, err := parseDuration(formatDuration(d), "ms"); err != nil || got != d {
			t.Fatalf("%v became %s, which is %v, %v", d, formatDuration(d), got, err)
		}
	})
}

func TestTimesTakeNumbersAndUnits(t *testing.T) {
	for _, c := range []struct {
		text, unit string
		want       time.Duration
	}{
		{"10000", "ms", 10 * time.Second},
		{"60*1000", "ms", time.Minute},
		{"60", "s", time.Minute},
		{"168", "hours", 168 * time.Hour},
		{"168h", "hours", 168 * time.Hour},
		{"10m", "hours", 10 * time.Minute},
		{"10s", "hours", 10 * time.Second},
		{"1h30m", "ms", 90 * time.Minute},
		{"0", "ms", 0},
	} {
		if got, err := parseDuration(c.text, c.unit); err != nil || got != c.want {
			t.Errorf("%q in %s = %v, %v; want %v", c.text, c.unit, got, err, c.want)
		}
	}
	for _, text := range []string{"", "soon", "10x", "1d", "1.5", "7 days", "10 s"} {
		if got, err := parseDuration(text, "ms"); err == nil || !strings.Contains(err.Error(), "a number of ms") {
			t.Errorf("%q = %v, %v; want an error that names the unit", text, got, err)
		}
	}
	if _, err := parseDuration("9223372036854775807", "hours"); err == nil || !strings.Contains(err.Error(), "64 bits") {
		t.Errorf("an overflow passed: %v", err)
	}
}

func TestTruthValuesAreExact(t *testing.T) {
	for text, want := range map[string]bool{"true": true, "false": false} {
		if got, err := parseBool(text); err != nil || got != want {
			t.Errorf("%s = %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"True", "TRUE", "1", "0", "yes", "on", ""} {
		if _, err := parseBool(text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}
