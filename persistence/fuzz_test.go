package persistence

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"testing"

	"metaq/internal/vfs"
	"metaq/internal/vfs/faultfs"
	"metaq/protocol"
)

// fuzzFile puts content at path on a new file system.
func fuzzFile(t testing.TB, fsys vfs.FS, path string, content []byte) {
	t.Helper()
	if err := vfs.MakeDir(fsys, fsys.PathDir(path)); err != nil {
		t.Fatal(err)
	}
	f, err := fsys.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(bytes.Clone(content)); err != nil {
		t.Fatal(err)
	}
	f.Close()
}

// fuzzSeeds returns a small segment, its index and state file.
func fuzzSeeds(f *testing.F) (segment, index, state []byte) {
	f.Helper()
	fsys := faultfs.New(0)
	l, _ := openLog(f, Options{FS: fsys, Dir: "/t", IndexInterval: 100, Preallocate: -1, Now: newClock().now})
	if err := l.SetEpoch(1); err != nil {
		f.Fatal(err)
	}
	for i := range 4 {
		put(f, l, epochTime+int64(i), values(i, i+1)...)
	}
	if err := l.Close(); err != nil {
		f.Fatal(err)
	}
	read := func(name string) []byte {
		b, err := vfs.ReadFile(fsys, "/t/"+name, 1<<20)
		if err != nil {
			f.Fatal(err)
		}
		return b
	}
	return read(baseName(0) + segmentSuffix), read(baseName(0) + indexSuffix), read(stateName)
}

// FuzzRecover opens a log whose three files hold anything. Whatever they are, the
// log opens or reports damage; an opened one can be read to its end, takes a batch,
// and opens again with it.
func FuzzRecover(f *testing.F) {
	segment, index, state := fuzzSeeds(f)
	f.Add(segment, index, state)
	f.Add(segment[:len(segment)-3], index, []byte{})
	f.Add(segment[:70], []byte{}, []byte{})
	f.Fuzz(func(t *testing.T, segment, index, state []byte) {
		fsys := faultfs.New(0)
		fuzzFile(t, fsys, "/t/"+baseName(0)+segmentSuffix, segment)
		fuzzFile(t, fsys, "/t/"+baseName(0)+indexSuffix, index)
		fuzzFile(t, fsys, "/t/"+stateName, state)
		o := Options{FS: fsys, Dir: "/t", IndexInterval: 100, Preallocate: -1, Now: newClock().now}
		l, _, err := Open(o)
		var damage *DamageError
		if errors.As(err, &damage) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		for at := l.Start(); at < l.Next(); {
			b, err := l.Read(nil, at, l.Next(), 100)
			if errors.As(err, &damage) {
				return // before the place where recovery began
			}
			if err != nil || len(b) == 0 {
				t.Fatal(at, len(b), err)
			}
			for len(b) > 0 {
				h, err := protocol.ParseBatchHeader(b)
				if err != nil {
					t.Fatal(err)
				}
				at, b = h.Next(), b[h.Length:]
			}
		}
		next := l.Next()
		if l.NextPosition() > 1<<62 || next > 1<<62 {
			return
		}
		if err := l.Append(stamped(t, l, max(l.LastTime(), epochTime), "more")); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		again, r, err := Open(o)
		if err != nil || again.Next() != next+1 || !r.Clean {
			t.Fatal(next, r, err)
		}
	})
}

// FuzzInspect inspects and dumps a segment that holds anything.
func FuzzInspect(f *testing.F) {
	segment, _, state := fuzzSeeds(f)
	f.Add(segment, state)
	f.Add(segment[:100], state)
	f.Fuzz(func(t *testing.T, segment, state []byte) {
		fsys := faultfs.New(0)
		path := "/t/" + baseName(0) + segmentSuffix
		fuzzFile(t, fsys, path, segment)
		fuzzFile(t, fsys, "/t/"+stateName, state)
		r, err := Inspect(fsys, "/t")
		if err != nil || len(r.Segments) != 1 {
			t.Fatal(r, err)
		}
		if g := r.Segments[0]; g.Last < g.First-1 || g.Bytes > int64(len(segment)) || g.State == "" {
			t.Fatalf("%+v", g)
		}
		n := protocol.Offset(0)
		err = Dump(fsys, path, func(_ int64, _ protocol.BatchHeader, records []protocol.Record) error {
			n += protocol.Offset(len(records))
			return nil
		})
		var damage *DamageError
		if err != nil && !errors.As(err, &damage) {
			t.Fatal(err)
		}
		if after, err := vfs.ReadFile(fsys, path, 1<<30); err != nil || !bytes.Equal(after, segment) {
			t.Fatal("the segment has changed", err)
		}
	})
}

// FuzzIndex decodes any bytes as an index; what is accepted encodes to the same
// bytes again.
func FuzzIndex(f *testing.F) {
	_, index, _ := fuzzSeeds(f)
	f.Add(index)
	f.Fuzz(func(t *testing.T, b []byte) {
		b = bytes.Clone(b)
		for at := indexHeaderSize; at+indexEntrySize <= len(b); at += indexEntrySize {
			binary.BigEndian.PutUint32(b[at+24:], crc32.Checksum(b[at:at+24], castagnoli))
		}
		entries, why := decodeIndex(b, 0, 1<<40)
		again := appendIndexHeader(nil, 0)
		for _, e := range entries {
			again = appendIndexEntry(again, e)
		}
		if why == "" && !bytes.Equal(again, b) {
			t.Fatalf("%x is written again as %x", b, again)
		}
		if len(entries) > 0 && !bytes.HasPrefix(b, again) {
			t.Fatalf("%x begins with %x", b, again)
		}
	})
}

// sealed returns b with the checksum that a state file or header of these bytes
// would have: else no mutation would come past it.
func sealed(b []byte) []byte {
	b = bytes.Clone(b)
	if len(b) >= 8 {
		binary.BigEndian.PutUint32(b[4:], crc32.Checksum(b[8:], castagnoli))
	}
	return b
}

// FuzzState decodes any bytes as a state file; what is accepted encodes to the
// same bytes again.
func FuzzState(f *testing.F) {
	_, _, state := fuzzSeeds(f)
	f.Add(state)
	f.Fuzz(func(t *testing.T, b []byte) {
		b = sealed(b)
		s, err := decodeState(b)
		if err == nil && !bytes.Equal(s.encode(), b) {
			t.Fatalf("%x is written again as %x", b, s.encode())
		}
	})
}

// FuzzSegmentHeader decodes any bytes as a segment's header.
func FuzzSegmentHeader(f *testing.F) {
	segment, _, _ := fuzzSeeds(f)
	f.Add(segment[:segmentHeaderSize])
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= segmentHeaderSize {
			b = sealed(b[:segmentHeaderSize])
		}
		h, err := decodeSegmentHeader(b)
		if err == nil && !bytes.Equal(h.encode(), b[:segmentHeaderSize]) {
			t.Fatalf("%x is written again as %x", b, h.encode())
		}
	})
}
