package zookeeper

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"
	"time"
)

func frame(body []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

func greeting(session uint64, millis uint32) []byte {
	b := binary.BigEndian.AppendUint32(nil, 0)
	b = binary.BigEndian.AppendUint32(b, millis)
	b = binary.BigEndian.AppendUint64(b, session)
	b = binary.BigEndian.AppendUint32(b, 16)
	return frame(append(b, make([]byte, 17)...))
}

func TestFrameGuardReadsTheGreetingHoweverItIsCut(t *testing.T) {
	stream := slices.Concat(greeting(0x1234, 4000), frame(make([]byte, 16)), frame(make([]byte, 500)))
	for size := 1; size <= len(stream); size++ {
		var g frameGuard
		var got []hello
		for part := range slices.Chunk(stream, size) {
			h, err := g.feed(part)
			if err != nil {
				t.Fatalf("chunks of %d: %v", size, err)
			}
			if h != nil {
				got = append(got, *h)
			}
		}
		if want := (hello{session: 0x1234, timeout: 4 * time.Second}); len(got) != 1 || got[0] != want {
			t.Fatalf("chunks of %d: %+v, want %+v", size, got, want)
		}
	}
}

func TestFrameGuardRefusesWhatWouldHurtTheLibrary(t *testing.T) {
	for name, stream := range map[string][]byte{
		"a web server":         []byte("HTTP/1.1 400 Bad Request\r\n"),
		"a NATS server":        []byte("INFO {}\r\n"),
		"an empty greeting":    frame(nil),
		"a negative length":    {0xff, 0xff, 0xff, 0xff},
		"a reply of no header": append(greeting(1, 4000), frame(make([]byte, 15))...),
		"a reply of 2 GB":      append(greeting(1, 4000), 0x7f, 0xff, 0xff, 0xff),
	} {
		var g frameGuard
		if _, err := g.feed(stream); !errors.Is(err, errNotZooKeeper) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzFrameGuard compares one piece with many pieces, and looks for panics.
func FuzzFrameGuard(f *testing.F) {
	f.Add(greeting(1, 4000), uint8(3))
	f.Add([]byte("HTTP/1.1"), uint8(1))
	f.Fuzz(func(t *testing.T, b []byte, size uint8) {
		var whole, parts frameGuard
		h1, err1 := whole.feed(bytes.Clone(b))
		var h2 *hello
		var err2 error
		for part := range slices.Chunk(b, int(size)+1) {
			h, err := parts.feed(part)
			if h != nil {
				h2 = h
			}
			if err != nil {
				err2 = err
				break
			}
		}
		if (err1 == nil) != (err2 == nil) {
			t.Fatalf("whole: %v, in parts: %v", err1, err2)
		}
		if err1 == nil && (h1 == nil) != (h2 == nil) {
			t.Fatalf("whole: %v, in parts: %v", h1, h2)
		}
	})
}
