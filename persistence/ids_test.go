package persistence

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"metaq/internal/vfs/faultfs"
	"metaq/protocol"
)

// putID appends a message with an id, as a broker stores it, and syncs.
func putID(l *Log, ms int64, id string) error {
	var b protocol.BatchBuilder
	r := protocol.Record{Time: ms, Headers: []protocol.Header{{Name: protocol.HeaderMsgID, Value: id}}}
	if err := b.Add(&r); err != nil {
		return err
	}
	enc := b.Encode(protocol.CompressionNone, protocol.Producer{ID: protocol.NoProducer})
	protocol.StampBatch(enc, protocol.Stamp{
		Base: l.Next(), Position: l.NextPosition(), Epoch: l.LastEpoch(), MaxTime: ms, MetaqLen: b.MetaqLen(),
	})
	if err := l.Append(enc); err != nil {
		return err
	}
	return l.Sync()
}

// knows returns whether l still has the id, in a record or of one that it had.
func knows(t *testing.T, l *Log, id string) bool {
	t.Helper()
	gone, err := l.GoneIDs()
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range gone {
		if g.ID == protocol.MessageIDOf(id) {
			return true
		}
	}
	for at := l.Start(); at < l.Next(); at++ { // each batch has one
		b, err := l.Read(nil, at, l.Next(), 1)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), id) {
			return true
		}
	}
	return false
}

// TestIDsOutliveTheirMessages drops messages before their ids are to be forgotten, and stops
// the machine, or fails, at each operation.
func TestIDsOutliveTheirMessages(t *testing.T) {
	const many = 6
	for _, failure := range []error{faultfs.ErrCrashed, syscall.EIO, syscall.ENOSPC, nil} {
		for at, done := 1, false; !done; at++ {
			c, fsys := newClocks(), faultfs.New(uint64(at))
			o := c.options(fsys)
			o.SegmentSize, o.Preallocate = 200, -1
			l, _, err := Open(o)
			if err != nil {
				t.Fatal(err)
			}
			for i := range many {
				if err := putID(l, c.ms, fmt.Sprintf("id-%d.", i)); err != nil {
					t.Fatal(err)
				}
				c.pass(time.Second)
			}
			done = true
			if failure != nil {
				fsys.FailAt(at, failure, func() { done = false })
			}
			if dispose, err := l.Expire(Retention{Bytes: 1, IDs: 3500 * time.Millisecond}); err == nil && dispose != nil {
				// They are known between the two as well.
				if failure == nil && !knows(t, l, "id-4.") {
					t.Fatal("the id of a message that is being removed is not known")
				}
				if err := dispose(); err != nil && failure == nil {
					t.Fatal(err)
				}
			}
			_ = l.Close() // it may have failed
			fsys.SetHook(nil)
			fsys.Stop()
			o.FS = fsys.Crash(0)
			if l, _, err = Open(o); err != nil {
				t.Fatal(err)
			}
			for i := range many {
				id := fmt.Sprintf("id-%d.", i)
				// Where there is no room for them the ids are lost, and the log says so.
				lost := errors.Is(failure, syscall.ENOSPC) && strings.Contains(c.logged.String(), "no room for the ids")
				if got := knows(t, l, id); !got && i >= 3 && !lost {
					t.Fatalf("operation %d fails with %v: %s is forgotten", at, failure, id)
				} else if got && i < 2 && failure == nil {
					t.Errorf("%s is known after its window", id)
				}
			}
			if failure == nil && l.Start() == 0 {
				t.Fatal("nothing was dropped")
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestDamagedIDsAreSetAside loses ids rather than the partition.
func TestDamagedIDsAreSetAside(t *testing.T) {
	fsys := faultfs.New(0)
	l, _ := openLog(t, Options{FS: fsys, Dir: "/t-0-0", Now: newClock().now})
	fuzzFile(t, fsys, "/t-0-0/"+idsName, []byte("MQD\x01 and rubbish"))
	ids, err := l.GoneIDs()
	if err != nil || len(ids) > 0 {
		t.Fatal(ids, err)
	}
	if _, err := fsys.Stat("/t-0-0/" + idsName + ".set-aside-corrupt-1"); err != nil {
		t.Fatal(err)
	}
}

func TestIDsFormat(t *testing.T) {
	want := []protocol.GoneID{
		{ID: protocol.MessageIDOf("a"), Offset: 7, Appended: epochTime},
		{ID: protocol.MessageIDOf("b"), Offset: 9, Appended: epochTime + 1},
	}
	got, err := decodeIDs(golden(t, "ids.hex", encodeIDs(want)))
	if err != nil || len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Fatal(got, err)
	}
}

// FuzzIDs wants that what decodes encodes to the same bytes.
func FuzzIDs(f *testing.F) {
	f.Add(encodeIDs([]protocol.GoneID{{ID: protocol.MessageIDOf("a"), Offset: 7, Appended: epochTime}}))
	f.Add([]byte("MQD\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		ids, err := decodeIDs(b)
		if err == nil && string(encodeIDs(ids)) != string(b) {
			t.Fatalf("%x decodes to %v", b, ids)
		}
	})
}
