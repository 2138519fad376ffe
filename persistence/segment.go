package persistence

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"metaq/internal/vfs"
	"metaq/protocol"
)

// The header of a segment file. All numbers are big endian.
// docs/format/segment.md has the same picture.
//
//	 0     3  4        8      16         24         32      40      48        56     64
//	| "MQS"|v| crc32c | base | position | previous | floor | epoch | created | began |
//
// crc32c (Castagnoli) covers all of the header that follows it. Whole batches
// come after it, then blank (zero) space or the end of the file.
const (
	segmentMagic      = 0x4d5153 // "MQS"
	segmentVersion    = 2        // version 1 has zeros in place of began
	segmentHeaderSize = 64       // part of the format

	segmentSuffix = ".log"
	indexSuffix   = ".index"
	baseDigits    = 20

	noSegment protocol.Offset = -1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// segmentHeader tells where a segment continues the log, so that an empty one
// still knows the next offset, position, epoch and time.
type segmentHeader struct {
	base     protocol.Offset   // offset of its first record
	position protocol.Position // MetaQ position of its first record
	previous protocol.Offset   // base of the segment before, noSegment for the first
	floor    int64             // greatest time of a record in the segment before in Unix milliseconds, or 0
	epoch    protocol.Epoch    // epoch of the last earlier record
	// created is what the clock showed, in Unix milliseconds, when the append clock
	// (Options.Elapsed) showed began. Version 1 does not have the latter: noBegan.
	created int64
	began   int64
}

// noBegan is began of a segment that does not tell.
const noBegan = 0

// chain is what the first batch of the segment continues: it may have any time.
func (h *segmentHeader) chain() chain {
	return chain{next: h.base, position: h.position, epoch: h.epoch}
}

func (h *segmentHeader) encode() []byte {
	b := make([]byte, 0, segmentHeaderSize)
	be := binary.BigEndian
	version := uint32(segmentVersion)
	if h.began == noBegan {
		version = 1
	}
	b = be.AppendUint32(b, segmentMagic<<8|version)
	b = be.AppendUint32(b, 0)
	b = be.AppendUint64(b, uint64(h.base))
	b = be.AppendUint64(b, uint64(h.position))
	b = be.AppendUint64(b, uint64(h.previous))
	b = be.AppendUint64(b, uint64(h.floor))
	b = be.AppendUint64(b, uint64(h.epoch))
	b = be.AppendUint64(b, uint64(h.created))
	b = be.AppendUint64(b, uint64(h.began))
	be.PutUint32(b[4:], crc32.Checksum(b[8:], castagnoli))
	return b
}

func decodeSegmentHeader(b []byte) (segmentHeader, error) {
	be := binary.BigEndian
	switch {
	case len(b) < segmentHeaderSize:
		return segmentHeader{}, fmt.Errorf("the file has %d bytes, less than a header", len(b))
	case be.Uint32(b)>>8 != segmentMagic:
		return segmentHeader{}, errors.New("the file does not begin with a segment's header")
	case b[3] == 0 || b[3] > segmentVersion:
		return segmentHeader{}, fmt.Errorf("segment version %d is not known, this release reads versions 1 to %d", b[3], segmentVersion)
	case be.Uint32(b[4:]) != crc32.Checksum(b[8:segmentHeaderSize], castagnoli):
		return segmentHeader{}, errors.New("the checksum of the segment's header is wrong")
	}
	h := segmentHeader{
		base:     protocol.Offset(be.Uint64(b[8:])),
		position: protocol.Position(be.Uint64(b[16:])),
		previous: protocol.Offset(be.Uint64(b[24:])),
		floor:    int64(be.Uint64(b[32:])),
		epoch:    protocol.Epoch(be.Uint64(b[40:])),
		created:  int64(be.Uint64(b[48:])),
		began:    int64(be.Uint64(b[56:])),
	}
	// What has no place in the header, such as an epoch beyond 32 bits or a version that
	// does not fit began, nobody wrote.
	if !bytes.Equal(h.encode(), b[:segmentHeaderSize]) {
		return segmentHeader{}, errors.New("the segment's header holds what this version cannot")
	}
	if h.base < 0 || h.position < 0 || h.previous < noSegment || h.previous >= h.base {
		return segmentHeader{}, fmt.Errorf("the segment's header says base %d, position %d, previous %d", h.base, h.position, h.previous)
	}
	return h, nil
}

// baseName is the name of a segment's files without their suffix.
func baseName(base protocol.Offset) string { return fmt.Sprintf("%0*d", baseDigits, base) }

// parseBase reads a name that baseName and suffix make.
func parseBase(name, suffix string) (protocol.Offset, bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	if !ok || len(digits) != baseDigits {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	return protocol.Offset(n), err == nil
}

// errRetired says that retention or truncation took the segment from the log.
var errRetired = errors.New("segment is no longer part of the log")

// segment is one file of the log. The header never changes.
type segment struct {
	segmentHeader
	path  string
	files *Files // nil: no budget

	// end is the byte place after the last whole batch that was written; of a
	// sealed segment that was found on disk it is the size of the file, and blank
	// space may come before it.
	end atomic.Int64
	// last is the greatest time of a record in it; of a segment without a record it
	// is that of the one before.
	last atomic.Int64
	// newest is what the append clock showed when its last batch was appended: as it
	// was, or as age.go estimates it for a segment that was found on disk.
	newest atomic.Int64
	// bare says that no batch of it can hold a message with an id: all are producers'.
	bare atomic.Bool

	mu      sync.Mutex    // guards the fields below
	handle  *handle       // nil when the file is not open
	retired bool          // nobody may open it any more
	idle    chan struct{} // closed when it is retired and the last user has gone
	users   int           // open handles, installed or still held
}

// handle is an open segment file with its index. The segment holds one
// reference while it is installed, every user one more.
type handle struct {
	file  vfs.File
	index atomic.Pointer[[]indexEntry] // nil until it is needed
	refs  int                          // guarded by segment.mu
}

// acquire returns the open file; the caller releases it. No lock is held while
// the file is opened: of two who open at once the later closes its own.
func (s *segment) acquire(fsys vfs.FS) (*handle, error) {
	for {
		s.mu.Lock()
		if s.retired {
			s.mu.Unlock()
			return nil, errRetired
		}
		if h := s.handle; h != nil {
			h.refs++
			s.mu.Unlock()
			return h, nil
		}
		s.mu.Unlock()
		f, err := fsys.Open(s.path)
		if err != nil {
			// Retention may have removed the file since the look above.
			if s.isRetired() {
				return nil, errRetired
			}
			return nil, diskError("open segment", s.path, err)
		}
		if h := s.install(f, false); h != nil {
			return h, nil
		}
		_ = f.Close() // opened for reading: nothing can be lost
	}
}

func (s *segment) isRetired() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.retired
}

// install makes f the segment's open file, instead of one that is there when
// replace says so, and returns it acquired; nil when it did not.
func (s *segment) install(f vfs.File, replace bool) *handle {
	s.mu.Lock()
	old := s.handle
	if s.retired || old != nil && !replace {
		s.mu.Unlock()
		return nil
	}
	h := &handle{file: f, refs: 2}
	s.handle = h
	s.users++
	s.mu.Unlock()
	if old != nil {
		s.release(old)
	}
	return h
}

// release gives up one reference and closes the file with the last.
func (s *segment) release(h *handle) {
	s.mu.Lock()
	h.refs--
	last := h.refs == 0
	s.mu.Unlock()
	if !last {
		s.files.nudge() // nobody may be using it any more
		return
	}
	// A writer syncs before it gives its file up, so a close cannot lose
	// anything that was promised.
	_ = h.file.Close()
	s.mu.Lock()
	s.users--
	s.signalLocked()
	s.mu.Unlock()
}

// dropIdle closes the file when nobody uses it, and reports whether it is closed.
func (s *segment) dropIdle() bool {
	s.mu.Lock()
	h := s.handle
	if h != nil && h.refs > 1 {
		s.mu.Unlock()
		return false
	}
	s.handle = nil
	s.mu.Unlock()
	if h != nil {
		s.release(h)
	}
	return true
}

// drop closes the file as soon as its users have gone.
func (s *segment) drop() {
	s.mu.Lock()
	h := s.handle
	s.handle = nil
	s.mu.Unlock()
	if h != nil {
		s.release(h)
	}
}

// retire drops the file for good; wait for what it returns before the file is
// removed, since not every system can remove an open file.
func (s *segment) retire() <-chan struct{} {
	s.mu.Lock()
	s.retired = true
	s.idle = make(chan struct{})
	s.signalLocked()
	idle := s.idle
	s.mu.Unlock()
	s.drop()
	return idle
}

func (s *segment) signalLocked() {
	if s.retired && s.users == 0 && s.idle != nil {
		select {
		case <-s.idle:
		default:
			close(s.idle)
		}
	}
}
