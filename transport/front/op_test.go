package front

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A line that is read because it is like the one before says what it says when it is read
// by itself, whatever comes after it.
func TestALineThatIsLikeTheOneBefore(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 0))
	pick := func(from ...string) string { return from[rng.IntN(len(from))] }
	often := func(usual string, from ...string) string {
		if rng.IntN(8) > 0 {
			return usual
		}
		return pick(from...)
	}
	line := func() string {
		return often("PUB", "pub", "HPUB", "PUBS", "") + often(" ", "\t", "  ", "") +
			often("q.put.t", "q.put.ta", "q.put", "") + often(" ", "\t", "  ", "") +
			often("_INBOX.x.", "_INBOX.", "x", "") + pick("1", "123", "a.b", "\x01", "\r", "") +
			often(" ", "\t", "  ", "") + pick("0", "12", "1024", "1025", "0000000012", "-1", "x", "") +
			often("\r\n", "\n", "\r", "\r\r\n", " \r\n", "")
	}
	const limit = 1024
	type said struct {
		Subject, Reply string
		Size, Line     int
	}
	alike := 0
	for range 200_000 {
		var last like
		var first publication
		if l := line(); strings.HasSuffix(l, "\n") && opOf([]byte(l)) == opPub {
			first, _ = parsePublication(opPub, []byte(l), limit)
			last.begin(&first)
		}
		text := []byte(line() + pick("", "payload\r\n"))
		p, size, ok := last.again(text, limit)
		if !ok {
			continue
		}
		alike++
		whole := text[:bytes.IndexByte(text, '\n')+1]
		want, ok := parsePublication(opOf(whole), whole, limit)
		if !ok || !unambiguous(whole) || opOf(whole) != opPub {
			t.Fatalf("%q was read", text)
		}
		if d := cmp.Diff(said{string(want.subject), string(want.reply), want.size, len(whole)},
			said{string(p.subject), string(p.reply), p.size, size}); d != "" {
			t.Fatalf("%q: %s", text, d)
		}
	}
	if alike < 1000 {
		t.Errorf("only %d lines were like the one before", alike)
	}
}
