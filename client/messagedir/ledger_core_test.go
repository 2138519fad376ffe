package messagedir

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestReadTellsATearFromDamage(t *testing.T) {
	one, two := encoded(t, record(1)), encoded(t, record(2))
	kept := func(n int64, r []byte) entry { return entry{kind: kindKept, number: n, record: r} }
	good := write(t, kept(1, one), kept(2, two))
	second := int64(len(write(t, kept(1, one))))
	header := len(write(t))
	with := func(at int, b byte) []byte {
		changed := slices.Clone(good)
		changed[at] ^= b
		return changed
	}
	inner := nested(t, good)
	for _, c := range []struct {
		name   string
		file   []byte
		live   []int64
		torn   int64
		damage int64 // -1: none
	}{
		{"a header alone", good[:header], nil, 0, -1},
		{"two records", good, []int64{1, 2}, 0, -1},
		{"one of two is done", write(t, kept(1, one), kept(2, two), entry{kind: kindDone, number: 1}), []int64{2}, 0, -1},
		{"numbers with a gap", write(t, kept(5, one), kept(9, two)), []int64{5, 9}, 0, -1},
		{"nothing", nil, nil, 0, 0},
		{"a cut header", good[:header-1], nil, 0, 0},
		{"a wrong header", with(2, 1), nil, 0, 0},
		{"an unknown version", with(3, 2), nil, 0, 0},
		{"another consumer's", appendHeader(nil, "h"), nil, 0, 0},
		{"the last one cut", good[:len(good)-1], []int64{1}, int64(len(good)) - 1 - second, -1},
		{"the last one's first byte only", good[:second+1], []int64{1}, 1, -1},
		{"the last one changed", with(len(good)-1, 1), []int64{1}, int64(len(good)) - second, -1},
		{"zeros at the end", append(slices.Clone(good), make([]byte, 100)...), []int64{1, 2}, 100, -1},
		{"the first one changed", with(header+entrySize, 1), nil, 0, int64(header)},
		{"the first one's length changed", with(header+5, 1), nil, 0, int64(header)},
		{"entries at another place", append(slices.Clone(good), good[header:]...), []int64{1, 2}, int64(len(good) - header), -1},
		{"a torn record that has a whole file in it", inner[:len(inner)-1], nil, int64(len(inner)-1) - int64(header), -1},
		{"a number that goes back", write(t, kept(2, one), kept(1, two)), nil, 0, second},
		{"done and never kept", write(t, kept(1, one), entry{kind: kindDone, number: 2}), nil, 0, second},
		{"done twice", write(t, kept(1, one), entry{kind: kindDone, number: 1}, entry{kind: kindDone, number: 1}), nil, 0, second + entrySize},
		{"an unknown kind", write(t, kept(1, one), entry{kind: 3, number: 2}), nil, 0, second},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, torn, err := read(c.file, "g")
			var d *DamageError
			if errors.As(err, &d) {
				if d.Pos != c.damage {
					t.Fatalf("%v; want it at %d", err, c.damage)
				}
				return
			}
			if err != nil || c.damage >= 0 {
				t.Fatalf("%v; want damage at %d", err, c.damage)
			}
			if got := l.numbers(); !slices.Equal(got, c.live) || torn != c.torn || l.end+torn != int64(len(c.file)) {
				t.Errorf("%v live, %d torn, end %d; want %v and %d", got, torn, l.end, c.live, c.torn)
			}
		})
	}
}

// nested is a file whose one record has file as its payload.
func nested(t *testing.T, file []byte) []byte {
	t.Helper()
	r := record(1)
	r.Value = bytes.Clone(file)
	return write(t, entry{kind: kindKept, number: 1, record: encoded(t, r)})
}

// TestALedgerKeepsItsBooks does anything that a store does, and cuts, changes and
// renews the file on the way.
func TestALedgerKeepsItsBooks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		file := appendHeader(nil, "g")
		l := newLedger(int64(len(file)))
		live := map[int64][]byte{}
		ends := []int64{l.end} // of the header and each entry
		add := func(e entry) {
			e.at = l.end
			file = appendEntry(file, &e)
			if err := l.add(&e); err != nil {
				t.Fatal(err)
			}
			ends = append(ends, l.end)
		}
		t.Repeat(map[string]func(*rapid.T){
			"keep": func(t *rapid.T) {
				record := rapid.SliceOfN(rapid.Byte(), 1, 50).Draw(t, "record")
				if n := l.number(record); n != 0 {
					if !bytes.Equal(live[n], record) {
						t.Fatalf("%x is said to be %d, which is %x", record, n, live[n])
					}
					return
				}
				live[l.next] = record
				add(entry{kind: kindKept, number: l.next, record: record})
			},
			"done": func(t *rapid.T) {
				if len(live) == 0 {
					return
				}
				n := rapid.SampledFrom(slices.Sorted(maps.Keys(live))).Draw(t, "number")
				delete(live, n)
				add(entry{kind: kindDone, number: n})
			},
			"renew": func(*rapid.T) {
				file, l = l.compact(file, "g")
				ends = []int64{int64(len(appendHeader(nil, "g")))}
				for _, n := range l.numbers() {
					ends = append(ends, ends[len(ends)-1]+l.live[n].size)
				}
			},
			"tear": func(t *rapid.T) {
				at := rapid.Int64Range(ends[0], l.end).Draw(t, "length")
				whole := int64(0)
				for _, end := range ends {
					if end <= at {
						whole = end
					}
				}
				short, torn, err := read(file[:at], "g")
				if err != nil || short.end != whole || torn != at-whole {
					t.Fatalf("cut at %d: %+v, %d torn, %v; want %d bytes", at, short, torn, err, whole)
				}
			},
			"damage": func(t *rapid.T) {
				if len(ends) < 3 {
					return
				}
				changed := slices.Clone(file)
				at := rapid.Int64Range(ends[0], ends[len(ends)-2]-1).Draw(t, "byte")
				changed[at] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
				var d *DamageError
				if _, _, err := read(changed, "g"); !errors.As(err, &d) || d.Pos > at || d.Pos < ends[0] {
					t.Fatalf("byte %d changed: %v", at, err)
				}
			},
			"": func(t *rapid.T) {
				reread, torn, err := read(file, "g")
				if err != nil || torn != 0 {
					t.Fatal(torn, err)
				}
				if !slices.Equal(reread.numbers(), l.numbers()) || !slices.Equal(l.numbers(), slices.Sorted(maps.Keys(live))) {
					t.Fatalf("read %v, noted %v, kept %v", reread.numbers(), l.numbers(), live)
				}
				var bytesLive int64
				for n, record := range live {
					p := l.live[n]
					if got := file[p.at+entrySize : p.at+p.size]; !bytes.Equal(got, record) {
						t.Fatalf("%d is %x, kept was %x", n, got, record)
					}
					bytesLive += p.size
				}
				if l.bytes != bytesLive || reread.bytes != bytesLive || l.end != int64(len(file)) {
					t.Fatalf("%d and %d bytes of %d live, end %d of %d", l.bytes, reread.bytes, bytesLive, l.end, len(file))
				}
			},
		})
	})
}
