package persistence

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"

	"metaq/internal/vfs"
	"metaq/protocol"
)

// The file "ids": the ids of messages that retention has removed while they were still
// to be recognised. All numbers are big endian. docs/format/ids.md has the same picture.
//
//	 0     3  4        8       12
//	| "MQD"|v| crc32c | count | entries ...
//
//	 0    16       24         32
//	| id | offset | appended |      an entry
//
// crc32c (Castagnoli) covers all that follows it. The file is published whole, before
// the segments that it speaks of are removed.
const (
	idsName       = "ids"
	idsMagic      = 0x4d5144 // "MQD"
	idsVersion    = 1
	idsHeaderSize = 12 // part of the format
	idEntrySize   = 32 // part of the format

	// maxGoneIDs bounds what is kept and read. The newest count.
	maxGoneIDs = 1_000_000
)

func encodeIDs(ids []protocol.GoneID) []byte {
	be := binary.BigEndian
	b := make([]byte, 0, idsHeaderSize+idEntrySize*len(ids))
	b = be.AppendUint32(b, idsMagic<<8|idsVersion)
	b = be.AppendUint32(b, 0)
	b = be.AppendUint32(b, uint32(len(ids)))
	for i := range ids {
		b = append(b, ids[i].ID[:]...)
		b = be.AppendUint64(b, uint64(ids[i].Offset))
		b = be.AppendUint64(b, uint64(ids[i].Appended))
	}
	be.PutUint32(b[4:], crc32.Checksum(b[8:], castagnoli))
	return b
}

func decodeIDs(b []byte) ([]protocol.GoneID, error) {
	be := binary.BigEndian
	switch {
	case len(b) < idsHeaderSize || be.Uint32(b)>>8 != idsMagic:
		return nil, errors.New("it does not begin with the header of a list of ids")
	case b[3] != idsVersion:
		return nil, fmt.Errorf("version %d is not known, this release reads version %d", b[3], idsVersion)
	case be.Uint32(b[4:]) != crc32.Checksum(b[8:], castagnoli):
		return nil, errors.New("its checksum is wrong")
	}
	rest := b[idsHeaderSize:]
	if n := uint64(be.Uint32(b[8:])); n != uint64(len(rest))/idEntrySize || len(rest)%idEntrySize != 0 {
		return nil, fmt.Errorf("it has %d bytes of ids and says that there are %d", len(rest), n)
	}
	ids := make([]protocol.GoneID, 0, len(rest)/idEntrySize)
	for ; len(rest) > 0; rest = rest[idEntrySize:] {
		ids = append(ids, protocol.GoneID{
			ID: protocol.MessageID(rest), Offset: protocol.Offset(be.Uint64(rest[16:])), Appended: int64(be.Uint64(rest[24:])),
		})
	}
	return ids, nil
}

// GoneIDs returns the ids of messages that retention has removed, oldest first: those that
// were younger than Retention.IDs, and perhaps older ones. It may be called from any
// goroutine, and waits for one that writes them.
func (l *Log) GoneIDs() ([]protocol.GoneID, error) {
	l.gone <- struct{}{}
	defer func() { <-l.gone }()
	ids, err := l.readIDs()
	if err != nil {
		return nil, err
	}
	// What waits for its removal has not been written yet, or was just before.
	for _, v := range l.doomed.all() {
		if n := len(ids); n > 0 && ids[n-1].Offset >= v.segment.base {
			continue
		}
		if ids, err = l.idsIn(ids, v.segment, 0); err != nil {
			return nil, err
		}
	}
	start := l.Start()
	return slices.DeleteFunc(ids, func(g protocol.GoneID) bool { return g.Offset >= start }), nil
}

// keepIDs writes down the ids of a segment that is to be removed, if they are to be
// recognised any longer.
func (l *Log) keepIDs(v victim) error {
	oldest := l.opts.Elapsed() - v.retention.IDs.Milliseconds()
	if v.retention.IDs <= 0 || v.segment.newest.Load() < oldest || v.segment.bare.Load() {
		return nil
	}
	l.gone <- struct{}{}
	defer func() { <-l.gone }()
	ids, err := l.readIDs()
	if err != nil {
		return err
	}
	before := len(ids)
	// A crash may have come between this and the removal, which is repeated now.
	ids = slices.DeleteFunc(ids, func(g protocol.GoneID) bool { return g.Appended < oldest || g.Offset >= v.segment.base })
	kept := len(ids)
	if ids, err = l.idsIn(ids, v.segment, oldest); err != nil {
		return err
	}
	if len(ids) == kept && kept == before {
		return nil
	}
	if n := len(ids) - maxGoneIDs; n > 0 {
		ids = ids[n:]
	}
	return vfs.Publish(l.fs, l.dir, idsName, func(w io.Writer) error {
		_, err := w.Write(encodeIDs(ids))
		return err
	})
}

// readIDs reads the file. One that is bad is set aside: to recognise fewer messages is no
// reason not to serve.
func (l *Log) readIDs() ([]protocol.GoneID, error) {
	path := l.fs.PathJoin(l.dir, idsName)
	b, err := vfs.ReadFile(l.fs, path, idsHeaderSize+idEntrySize*maxGoneIDs)
	if vfs.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	ids, err := decodeIDs(b)
	if err == nil {
		return ids, nil
	}
	aside, aerr := vfs.SetAside(l.fs, path, "corrupt")
	if aerr != nil {
		return nil, aerr
	}
	l.opts.Logger.Warn("ids of removed messages are lost: a retry of one of them is stored again", "path", path, "kept", aside, "reason", err)
	return nil, nil
}

// idsIn appends the ids of the records in s that were appended at oldest or later. What is
// damaged, or removed by now, has none.
func (l *Log) idsIn(ids []protocol.GoneID, s *segment, oldest int64) ([]protocol.GoneID, error) {
	f, err := l.fs.Open(s.path)
	if vfs.IsNotExist(err) {
		return ids, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open segment: %w", err)
	}
	defer f.Close() //nolint:errcheck // it was opened for reading
	sc := newScanner(f, s.path, segmentHeaderSize, s.end.Load(), s.chain())
	defer sc.close()
	for {
		h, b, err := sc.next()
		var bad *badBytes
		if errors.Is(err, errBlank) || errors.As(err, &bad) {
			return ids, nil
		}
		if err != nil {
			return nil, err
		}
		if !h.MayHaveIDs(b) {
			continue
		}
		for r, err := range protocol.DecodeRecords(&h, b) {
			if err != nil {
				return ids, nil //nolint:nilerr // damaged: see above
			}
			id, ok := r.Header(protocol.HeaderMsgID)
			if at := min(l.appended(s, r.Time), s.newest.Load()); ok && id != "" && at >= oldest {
				ids = append(ids, protocol.GoneID{ID: protocol.MessageIDOf(id), Offset: r.Offset, Appended: at})
			}
		}
	}
}
