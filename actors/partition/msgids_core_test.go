package partition

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"metaq/actors/actorstest"
	"metaq/protocol"
)

// The window knows exactly the ids that a list of all of them would know.
func TestMessageIDsKnowTheirWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const window, limit = 100 * time.Millisecond, 20
		type entry struct {
			id   int
			at   protocol.Offset
			when int64
		}
		m, model, fresh, now := newMessageIDs(window, limit), []entry{}, 0, int64(1000)
		for next := range protocol.Offset(rapid.IntRange(1, 200).Draw(t, "steps")) {
			now += rapid.Int64Range(0, 20).Draw(t, "pause")
			for len(model) > 0 && model[0].when+window.Milliseconds() <= now {
				model = model[1:]
			}
			id := rapid.IntRange(0, 40).Draw(t, "id")
			at, found := m.find(messageIDOf(fmt.Sprint(id)), now)
			fresh = min(fresh, len(model))
			known := false
			for _, e := range model {
				if e.id == id {
					known = true
					if !found || at != e.at {
						t.Fatalf("id %d is at %d (%v), want %d", id, at, found, e.at)
					}
				}
			}
			if found && !known {
				t.Fatalf("id %d is known but should not be", id)
			}
			if !found {
				m.add(messageIDOf(fmt.Sprint(id)), next, now)
				model, fresh = append(model, entry{id, next, now}), fresh+1
				if len(model) > limit {
					model = model[1:]
				}
				fresh = min(fresh, len(model))
			}
			switch rapid.IntRange(0, 9).Draw(t, "then") {
			case 0:
				end := next - protocol.Offset(rapid.IntRange(0, 4).Draw(t, "back"))
				m.rollback(end)
				for fresh > 0 && model[len(model)-1].at >= end {
					model, fresh = model[:len(model)-1], fresh-1
				}
			case 1, 2:
				end := next - protocol.Offset(rapid.IntRange(-1, 4).Draw(t, "unsafe"))
				m.keep(end)
				for fresh > 0 && model[len(model)-fresh].at < end {
					fresh--
				}
			case 3:
				m.shrink(now)
			}
			if m.n != len(model) || len(m.at) != len(model) {
				t.Fatalf("%d ids, %d indexed, want %d", m.n, len(m.at), len(model))
			}
		}
	})
}

func TestMessageIDsGiveTheirMemoryBack(t *testing.T) {
	m := newMessageIDs(time.Second, 1<<20)
	for i := range 100_000 {
		m.add(messageIDOf(fmt.Sprint(i)), protocol.Offset(i), 1000)
	}
	m.shrink(2000)
	if m.n != 0 || len(m.ring) > 16 || len(m.at) != 0 {
		t.Errorf("%d ids are left in a ring of %d", m.n, len(m.ring))
	}
}

// BenchmarkAMillionMessageIDs prints what the window of a million ids costs.
func BenchmarkAMillionMessageIDs(b *testing.B) {
	const n = 1_000_000
	heap := func() uint64 {
		runtime.GC()
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return s.HeapAlloc
	}
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("%s-%d", strings.Repeat("x", 24), i)
	}
	before := heap()
	b.ResetTimer()
	var m *messageIDs
	for range b.N {
		m = newMessageIDs(time.Minute, n)
		for i, id := range ids {
			m.add(messageIDOf(id), protocol.Offset(i), int64(i))
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(heap()-before)/n, "B/id")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/id")
	if m.n != n {
		b.Fatal(m.n)
	}
	runtime.KeepAlive(ids)
}

// IDs of messages that retention has dropped count like those in the log.
func TestIDsOfDroppedMessagesAreLearned(t *testing.T) {
	l := &actorstest.Log{Opened: true, LogStart: 3, Gone: []protocol.GoneID{
		{ID: messageIDOf("forgotten"), Offset: 1, Appended: 900},
		{ID: messageIDOf("dropped"), Offset: 2, Appended: 950},
	}}
	ids, _, err := readMessageIDs(l, 3, 1000, 100*time.Millisecond, 10)
	if err != nil {
		t.Fatal(err)
	}
	if at, ok := ids.find(messageIDOf("dropped"), 1000); !ok || at != 2 {
		t.Errorf("offset %d, %v", at, ok)
	}
	if _, ok := ids.find(messageIDOf("forgotten"), 1000); ok {
		t.Error("an id is known after its window")
	}
	ids.rollback(3)
	if _, ok := ids.find(messageIDOf("dropped"), 1000); !ok {
		t.Error("an id of a message that was safe is taken back")
	}
}

func TestMessageIDsOfAllPartitionsShareABudget(t *testing.T) {
	b := &idBudget{limit: 10}
	one, two := newMessageIDs(time.Second, 100), newMessageIDs(time.Second, 4)
	one.attach(b)
	two.attach(b)
	add := func(m *messageIDs, n int, now int64) {
		for i := range n {
			m.add(messageIDOf(fmt.Sprint(now, i)), protocol.Offset(i), now)
		}
	}
	add(one, 6, 0)
	if !one.room() {
		t.Error("no room at 6 of 10")
	}
	add(two, 4, 0)
	if one.room() || b.used.Load() != 10 {
		t.Errorf("room at %d of 10", b.used.Load())
	}
	if !two.room() {
		t.Error("a partition that is full has the place of its own oldest id")
	}
	add(two, 3, 1)
	if b.used.Load() != 10 {
		t.Errorf("%d are used after ids took the place of older ones", b.used.Load())
	}
	one.rollback(4) // two of six are taken back
	if b.used.Load() != 8 || !one.room() {
		t.Errorf("%d are used after a rollback", b.used.Load())
	}
	one.expire(2000)
	if b.used.Load() != 4 {
		t.Errorf("%d are used after one's window", b.used.Load())
	}
	two.release()
	if b.used.Load() != 0 {
		t.Errorf("%d are used by nobody", b.used.Load())
	}
	add(two, 2, 3)
	if b.used.Load() != 0 {
		t.Error("ids that were released count")
	}
}
