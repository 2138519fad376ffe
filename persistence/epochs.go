package persistence

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"

	"metaq/internal/vfs"
	"metaq/protocol"
)

// The state file "epochs". All numbers are big endian. docs/format/epochs.md
// has the same picture.
//
//	 0     3  4        8         16         24     32   40        48         56     64      72      80
//	| "MQE"|v| crc32c | highest | truncate | next | at | segment | position | time | epoch | count | entries ...
//
//	 0       8       16
//	| epoch | first |      an entry
//
// crc32c (Castagnoli) covers all that follows it. The file is published whole.
const (
	stateName       = "epochs"
	stateMagic      = 0x4d5145 // "MQE"
	stateVersion    = 1
	stateHeaderSize = 80 // part of the format
	stateEntrySize  = 16 // part of the format
	maxStateSize    = 16 << 20

	noTruncate protocol.Offset = -1
)

// epochStart says that the records from first on were written under epoch, up
// to the next entry.
type epochStart struct {
	epoch protocol.Epoch
	first protocol.Offset
}

// mark is a place that is known to be durable: every record below chain.next
// lies before byte at of the segment. It is a lower bound: records may follow.
type mark struct {
	segment protocol.Offset // base
	at      int64
	chain   chain
}

// state is the content of the state file. It belongs to the owner.
type state struct {
	// highest is the highest epoch that was ever accepted; it never goes down.
	highest protocol.Epoch
	// truncate is the offset of a truncation that was begun, else noTruncate.
	truncate protocol.Offset
	// mark is where the log ended when it was last closed, parked or rolled.
	mark mark
	// epochs is ordered by both fields; the first entry may begin below the log
	// start.
	epochs []epochStart
}

// reached is an offset that the log is known to have reached durably: when it
// ends before, records are gone.
func (s *state) reached() protocol.Offset {
	n := s.mark.chain.next
	if k := len(s.epochs); k > 0 {
		n = max(n, s.epochs[k-1].first)
	}
	return n
}

// lostSegment is the damage of a log in dir whose segment with the mark is gone.
func (s *state) lostSegment(dir string) error {
	return &DamageError{
		Path: dir, Offset: s.mark.segment,
		Why: fmt.Sprintf("the segment %s is missing, which was the last one", baseName(s.mark.segment)),
	}
}

// add notes that epoch begins at first. An epoch that got no record gives its
// place to the next.
func (s *state) add(epoch protocol.Epoch, first protocol.Offset) {
	s.highest = max(s.highest, epoch)
	n := len(s.epochs)
	if n > 0 && s.epochs[n-1].epoch == epoch {
		return
	}
	if n > 0 && s.epochs[n-1].first == first {
		s.epochs[n-1].epoch = epoch
		return
	}
	s.epochs = append(s.epochs, epochStart{epoch, first})
}

// lastEntry is the newest epoch that has an entry, or 0.
func (s *state) lastEntry() protocol.Epoch {
	if n := len(s.epochs); n > 0 {
		return s.epochs[n-1].epoch
	}
	return 0
}

// cut forgets what lies beyond next. The highest epoch stays.
func (s *state) cut(next protocol.Offset) {
	for n := len(s.epochs); n > 0 && s.epochs[n-1].first > next; n-- {
		s.epochs = s.epochs[:n-1]
	}
	if s.mark.chain.next > next {
		s.mark = mark{}
	}
}

// trim forgets epochs that ended before start.
func (s *state) trim(start protocol.Offset) {
	for len(s.epochs) > 1 && s.epochs[1].first <= start {
		s.epochs = s.epochs[1:]
	}
}

func (s *state) encode() []byte {
	be := binary.BigEndian
	b := make([]byte, 0, stateHeaderSize+stateEntrySize*len(s.epochs))
	b = be.AppendUint32(b, stateMagic<<8|stateVersion)
	b = be.AppendUint32(b, 0)
	for _, v := range []uint64{
		uint64(s.highest), uint64(s.truncate),
		uint64(s.mark.chain.next), uint64(s.mark.at), uint64(s.mark.segment),
		uint64(s.mark.chain.position), uint64(s.mark.chain.time), uint64(s.mark.chain.epoch),
		uint64(len(s.epochs)),
	} {
		b = be.AppendUint64(b, v)
	}
	for _, e := range s.epochs {
		b = be.AppendUint64(b, uint64(e.epoch))
		b = be.AppendUint64(b, uint64(e.first))
	}
	be.PutUint32(b[4:], crc32.Checksum(b[8:], castagnoli))
	return b
}

func decodeState(b []byte) (state, error) {
	be := binary.BigEndian
	switch {
	case len(b) < stateHeaderSize || be.Uint32(b)>>8 != stateMagic:
		return state{}, errors.New("it does not begin with the state file's header")
	case b[3] != stateVersion:
		return state{}, fmt.Errorf("version %d is not known, this release reads version %d", b[3], stateVersion)
	case be.Uint32(b[4:]) != crc32.Checksum(b[8:], castagnoli):
		return state{}, errors.New("its checksum is wrong")
	}
	u64 := func(i int) uint64 { return be.Uint64(b[8+8*i:]) }
	s := state{
		highest:  protocol.Epoch(u64(0)),
		truncate: protocol.Offset(u64(1)),
		mark: mark{
			at: int64(u64(3)), segment: protocol.Offset(u64(4)),
			chain: chain{
				next: protocol.Offset(u64(2)), position: protocol.Position(u64(5)),
				time: int64(u64(6)), epoch: protocol.Epoch(u64(7)),
			},
		},
	}
	rest := b[stateHeaderSize:]
	if n := u64(8); n != uint64(len(rest))/stateEntrySize || len(rest)%stateEntrySize != 0 {
		return state{}, fmt.Errorf("it has %d bytes of epochs and says that there are %d", len(rest), n)
	}
	if s.mark.chain.next < 0 || s.mark.at < 0 || s.truncate < noTruncate {
		return state{}, errors.New("its offsets are negative")
	}
	if u64(0)|u64(7) > math.MaxUint32 {
		return state{}, errors.New("its epochs are beyond 32 bits")
	}
	for len(rest) > 0 {
		if n := be.Uint64(rest); n > math.MaxUint32 {
			return state{}, fmt.Errorf("epoch %d is beyond 32 bits", n)
		}
		e := epochStart{protocol.Epoch(be.Uint64(rest)), protocol.Offset(be.Uint64(rest[8:]))}
		if n := len(s.epochs); e.first < 0 || e.epoch > s.highest || n > 0 && (e.epoch <= s.epochs[n-1].epoch || e.first <= s.epochs[n-1].first) {
			return state{}, fmt.Errorf("epoch %d is out of order", e.epoch)
		}
		s.epochs, rest = append(s.epochs, e), rest[stateEntrySize:]
	}
	return s, nil
}

func publishState(fsys vfs.FS, dir string, s *state) error {
	return vfs.Publish(fsys, dir, stateName, func(w io.Writer) error {
		_, err := w.Write(s.encode())
		return err
	})
}
