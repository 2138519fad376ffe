package persistence

import (
	"errors"
	"strings"
	"testing"
	"time"

	"metaq/internal/vfs"
	"metaq/internal/vfs/faultfs"
	"metaq/protocol"
)

func TestAppendRefusesWhatDoesNotContinueTheLog(t *testing.T) {
	l, _ := openLog(t, Options{FS: faultfs.New(0), Dir: "/t-0-0", Now: newClock().now})
	if err := l.SetEpoch(5); err != nil {
		t.Fatal(err)
	}
	put(t, l, epochTime, "a")
	next, pos := l.Next(), l.NextPosition()
	good := stampedAt(t, next, pos, 5, 0, epochTime, "b")
	for name, c := range map[string]struct {
		batch []byte
		why   string
	}{
		"an offset that was given":  {stampedAt(t, 0, pos, 5, 0, epochTime, "b"), "offset 0 instead of 1"},
		"a gap":                     {stampedAt(t, 2, pos, 5, 0, epochTime, "b"), "offset 2 instead of 1"},
		"a wrong position":          {stampedAt(t, next, pos+1, 5, 0, epochTime, "b"), "MetaQ position"},
		"an older epoch":            {stampedAt(t, next, pos, 4, 0, epochTime, "b"), "epoch 4 after epoch 5"},
		"an epoch that was not set": {stampedAt(t, next, pos, 6, 0, epochTime, "b"), "epoch 6 was not set"},
		"a time that goes back within": {append(append([]byte(nil), good...),
			stampedAt(t, next+1, 2*pos, 5, 1, epochTime-1, "c")...), "time"},
		"nothing":              {nil, "no batch"},
		"half a batch":         {good[:len(good)-1], "cut short"},
		"bytes after a batch":  {append(append([]byte(nil), good...), 1, 2, 3), "no batch"},
		"the same batch twice": {append(append([]byte(nil), good...), good...), "offset 1 instead of 2"},
	} {
		if err := l.Append(c.batch); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := l.Append(good); err != nil {
		t.Fatal(err)
	}
	// Record 1 is not durable: no batch may say that it is.
	if err := l.Append(stampedAt(t, 2, l.NextPosition(), 5, 0, epochTime, "c")); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "durable") {
		t.Errorf("a false proof: %v", err)
	}
	if err := l.SetEpoch(4); !errors.Is(err, protocol.ErrFenced) {
		t.Errorf("epoch 4 after 5: %v", err)
	}
}

// Small appends find room that is there already, so that their syncs write no new size of
// the file; large ones do not pay for it twice.
func TestOnlySmallAppendsMakeRoomAhead(t *testing.T) {
	fsys := struct{ vfs.FS }{faultfs.New(0)} // without direct writes, which fill whole blocks
	l, _ := openLog(t, Options{FS: fsys, Dir: "/t-0-0", Now: newClock().now})
	room := func() int64 { return l.w.size - l.active().end.Load() }
	put(t, l, epochTime, "small")
	if got := room(); got < 10_000 {
		t.Errorf("a small append left room for %d bytes", got)
	}
	put(t, l, epochTime, strings.Repeat("l", 100_000))
	if got := room(); got != 0 {
		t.Errorf("a large append left room for %d bytes", got)
	}
	put(t, l, epochTime, "small")
	before := room()
	put(t, l, epochTime, "small")
	if got := room(); got < 10_000 || got >= before {
		t.Errorf("after small appends there is room for %d bytes, before the last one for %d", got, before)
	}
	info, err := fsys.Stat(l.active().path)
	if err != nil || info.Size() != l.w.size {
		t.Errorf("the file has %v bytes, the log thinks %d: %v", info.Size(), l.w.size, err)
	}
}

func TestAppendGoesOnWhenThereIsRoomAgain(t *testing.T) {
	fsys := faultfs.New(1)
	l, _ := openLog(t, Options{FS: fsys, Dir: "/t-0-0", Now: newClock().now})
	put(t, l, epochTime, "a")
	fsys.SetLimit(fsys.Used() + 100)
	big := strings.Repeat("b", 20_000)
	for range 3 {
		if err := l.Append(stamped(t, l, epochTime, big)); !errors.Is(err, protocol.ErrDiskFull) {
			t.Fatal(err)
		}
	}
	put(t, l, epochTime, "small") // there is room in what was reserved
	if got := readAll(t, l, 0, 100); len(got) != 2 {
		t.Fatal(got)
	}
	fsys.SetLimit(0)
	put(t, l, epochTime, big)
	if got := readAll(t, l, 0, 100); len(got) != 3 || got[2] != big {
		t.Fatal(len(got))
	}
}

func TestSegmentsRollBySizeAndByAge(t *testing.T) {
	c := newClock()
	var rolled []protocol.Offset
	l, _ := openLog(t, Options{
		FS: faultfs.New(0), Dir: "/t-0-0", SegmentSize: 1000, SegmentAge: time.Hour, Now: c.now,
		Events: Events{Rolled: func(base protocol.Offset) { rolled = append(rolled, base) }},
	})
	put(t, l, c.ms, strings.Repeat("a", 2000)) // alone larger than a segment
	put(t, l, c.ms, "b")                       // rolls by size
	put(t, l, c.ms, "c")
	c.advance(time.Hour)
	put(t, l, c.ms, "d") // rolls by age
	put(t, l, c.ms, strings.Repeat("e", 800))
	if len(rolled) != 3 || rolled[0] != 1 || rolled[1] != 3 || rolled[2] != 4 {
		t.Fatalf("rolled at %v", rolled)
	}
	for i, s := range *l.segments.Load() {
		if size := s.end.Load(); size > 1000 && i > 0 {
			t.Errorf("segment %d has %d bytes", s.base, size)
		}
	}
}
