package cli

import (
	"strings"
	"testing"
	"time"
)

func TestTableAlignsColumns(t *testing.T) {
	table := Table{Head: []string{"NAME", ">BYTES", "STATE"}}
	table.Add("a", 7, "ok")
	table.Add("gr\u00f6\u00dfe", 1234567, "")
	var w strings.Builder
	if err := table.Write(&w); err != nil {
		t.Fatal(err)
	}
	want := "" +
		"NAME     BYTES  STATE\n" +
		"a            7  ok\n" +
		"gr\u00f6\u00dfe  1234567\n"
	if w.String() != want {
		t.Errorf("got\n%swant\n%s", w.String(), want)
	}
}

func TestNumbers(t *testing.T) {
	for got, want := range map[string]string{
		Count(0):                             "0",
		Count(999):                           "999",
		Count(1000):                          "1,000",
		Count(-1234567):                      "-1,234,567",
		Megabytes(1_234_567):                 "1.23",
		Rate(100, 0):                         "-",
		Rate(3000, 2*time.Second):            "1,500",
		Short(1234 * time.Millisecond):       "1.23s",
		Short(45_600 * time.Microsecond):     "45.6ms",
		Short(789 * time.Microsecond):        "789us",
		Short(90*time.Second + 1):            "1m30s",
		Short(0):                             "0.00us",
		Short(999_999_999 * time.Nanosecond): "1000ms",
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
