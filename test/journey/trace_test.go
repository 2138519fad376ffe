package journey

import (
	"path"
	"regexp"
	"runtime"
	"strings"
	"sync"
)

// station is one hop as it was seen: its word, the function of ours that does it, and the
// function of ours in which its goroutine began. No number of a goroutine is in it: an
// actor's messages may be handled by one goroutine after the other.
type station struct {
	word, function, goroutine string
}

// trace collects stations from all goroutines of a broker in the order in which they
// happen. It counts from begin on.
type trace struct {
	mu   sync.Mutex
	on   bool
	seen []station
}

// begin forgets what was seen.
func (t *trace) begin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.on, t.seen = true, nil
}

// end returns what was seen since begin.
func (t *trace) end() []station {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.on = false
	return t.seen
}

// note adds the hop that the calling goroutine is at.
func (t *trace) note(word string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.on {
		function, goroutine := where()
		t.seen = append(t.seen, station{word, function, goroutine})
	}
}

// literal is what the compiler appends to the name of a function for the literals in it, and
// inlined the function into which it has put another one's literal.
var (
	literal = regexp.MustCompile(`(\.func\d+|\.\d+|-fm|-range\d+|\.gowrap\d+)+$`)
	inlined = regexp.MustCompile(`^(.*/)?(\w+)\..*\.(\(\*?\w+\)\.\w+)$`)
)

// plain turns transport.(*Gateway).subscribe.(*Gateway).handOver.func1 into
// transport.Gateway.handOver.
func plain(name string) string {
	name = literal.ReplaceAllString(name, "")
	if m := inlined.FindStringSubmatch(name); m != nil {
		name = m[1] + m[2] + "." + m[3]
	}
	return strings.NewReplacer("(*", "", ")", "").Replace(path.Base(name))
}

// where returns the function of the broker that the calling goroutine is in, packages below
// test/ and the file system's seam left out, and what the goroutine does: an actor's
// Receive, or the first function of the broker.
func where() (function, goroutine string) {
	pcs := make([]uintptr, 64)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs)])
	for more := true; more; {
		var f runtime.Frame
		f, more = frames.Next()
		name, ours := strings.CutPrefix(f.Function, "metaq/")
		if !ours || strings.HasPrefix(name, "test/") || strings.HasPrefix(name, "internal/vfs") {
			continue
		}
		name = plain(name)
		if function == "" {
			function = name
		}
		goroutine = name
		if strings.HasSuffix(name, ".Receive") {
			return function, goroutine
		}
	}
	return function, goroutine
}
