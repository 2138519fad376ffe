package demo

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// back is a message on its way back.
type back struct {
	n       uint32
	key     string
	payload string
}

// sent enters a few lines of three keys and returns what should come back.
func sent(l *Ledger) []back {
	var out []back
	for _, line := range []string{"the eye", "of light", "the ray", "", "of light", "the eye", ""} {
		key := string(Key([]byte(line)))
		out = append(out, back{l.Sent([]byte(key), []byte(line)), key, line})
	}
	return out
}

func judgeAll(l *Ledger, messages []back) error {
	for _, m := range messages {
		_ = l.Received(m.n, []byte(m.key), []byte(m.payload)) // the verdict tells
	}
	return l.Verdict()
}

func TestLedgerVerdict(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func([]back) []back
		want   string // part of the verdict; "" for a good one
	}{
		{"all back in the order of sending", func(m []back) []back { return m }, ""},
		{"keys may overtake one another", func(m []back) []back {
			return []back{m[3], m[6], m[1], m[4], m[0], m[2], m[5]}
		}, ""},
		{"one lost at the end of its key", func(m []back) []back { return m[:6] }, "1 messages did not come back; the first is message 7"},
		{"one lost in the middle of its key", func(m []back) []back {
			return []back{m[0], m[1], m[3], m[4], m[5], m[6]}
		}, "message 6 came back before message 3"},
		{"one twice", func(m []back) []back { return append(m, m[6]) }, "message 7 came back twice"},
		{"equal lines swapped within their key", func(m []back) []back {
			m[1], m[4] = m[4], m[1]
			return m
		}, "message 5 came back before message 2"},
		{"content changed", func(m []back) []back { m[2].payload = "the raX"; return m }, "message 3 came back with another content"},
		{"key changed", func(m []back) []back { m[2].key = "thy"; return m }, "is not its own"},
		{"number changed to one of another key", func(m []back) []back { m[1].n = 3; return m }, "another content"},
		{"one that was never sent", func(m []back) []back { return append(m, back{8, "the", "x"}) }, "message 8 came back and was never sent"},
		{"number nought", func(m []back) []back { return append(m, back{0, "the", "x"}) }, "never sent"},
		{"nothing back", func([]back) []back { return nil }, "7 messages did not come back; the first is message 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := NewLedger()
			err := judgeAll(l, c.change(sent(l)))
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("verdict %v, want %q", err, c.want)
			}
		})
	}
}

func TestLedgerOfNothing(t *testing.T) {
	if err := NewLedger().Verdict(); err != nil {
		t.Error(err)
	}
}

func TestLedgerMayJudgeWhileSending(t *testing.T) {
	l := NewLedger()
	for i := range 4 {
		line := fmt.Appendf(nil, "k %d", i)
		n := l.Sent([]byte("k"), line)
		if err := l.Received(n, []byte("k"), line); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Verdict(); err != nil || l.Messages() != 4 || l.Returned() != 4 || l.Keys() != 1 {
		t.Errorf("verdict %v, %d messages, %d returned, %d keys", err, l.Messages(), l.Returned(), l.Keys())
	}
}

// The one property that counts: a delivery is accepted exactly when it holds,
// for each key, the sequence that was sent.
func TestLedgerAcceptsExactlyTheSentSequences(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := NewLedger()
		want := map[string][]back{}
		var all []back
		for range rapid.IntRange(0, 12).Draw(t, "messages") {
			m := back{
				key:     rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "key"),
				payload: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "payload"),
			}
			m.n = l.Sent([]byte(m.key), []byte(m.payload))
			want[m.key] = append(want[m.key], m)
			all = append(all, m)
		}
		delivery := rapid.Permutation(all).Draw(t, "order")
		delivery = delivery[:rapid.IntRange(max(0, len(delivery)-1), len(delivery)).Draw(t, "delivered")]
		if len(all) > 0 && rapid.IntRange(0, 3).Draw(t, "repeat") == 0 {
			delivery = append(delivery, rapid.SampledFrom(all).Draw(t, "repeated"))
		}
		got := map[string][]back{}
		for _, m := range delivery {
			got[m.key] = append(got[m.key], m)
		}
		good := fmt.Sprint(got) == fmt.Sprint(want)
		if err := judgeAll(l, delivery); (err == nil) != good {
			t.Fatalf("delivery %v of %v: verdict %v", delivery, all, err)
		}
	})
}

func TestKey(t *testing.T) {
	for line, want := range map[string]string{
		"":                        "",
		"   ":                     "",
		"word":                    "word",
		"  The Rays of Light":     "The",
		"\tx\ty":                  "x",
		"\x00\xff \x01":           "\x00\xff",
		strings.Repeat("long", 9): strings.Repeat("long", 8),
	} {
		if got := Key([]byte(line)); string(got) != want || got == nil {
			t.Errorf("Key(%q) = %#v, want %q", line, got, want)
		}
	}
}
