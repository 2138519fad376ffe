package persistence

import (
	"log/slog"
	"time"

	"metaq/internal/vfs"
	"metaq/protocol"
)

// Options are what a log needs to know. The zero value of every field but Dir
// works.
type Options struct {
	// FS is the file system; nil means the operating system's.
	FS vfs.FS
	// Dir is the partition's directory. It is made when it is not there.
	Dir string
	// SegmentSize is the size in bytes at which a new segment starts; 0 means
	// 1 GiB. Small segments free disk sooner; large ones mean fewer files. A
	// segment is longer only when one Append alone is.
	SegmentSize int64
	// SegmentAge is the age at which a segment that has a record is followed by
	// a new one; 0 means that age does not matter.
	SegmentAge time.Duration
	// IndexInterval is the number of bytes of a segment for each entry of its
	// index; 0 means 64 KiB. It bounds what a read at any offset scans.
	IndexInterval int64
	// Preallocate bounds the step in bytes by which a segment's file grows ahead
	// of what is written, so that most syncs need not write metadata; 0 means
	// 512 KiB. Small segments grow in small steps, and an append of an eighth of
	// it or more makes none: see growStep. Below 0: no growth ahead.
	Preallocate int64
	// DirectLeast is the size in bytes from which an append goes past the system's
	// cache, where the file system can do that and nobody reads; 0 means 8 KiB. Below
	// 0: none does.
	DirectLeast int
	// DirectUnread is how many bytes are appended after a read before an append may go
	// past the cache; 0 means 32 MiB. Few mean that a reader who comes now and then
	// waits for the disk.
	DirectUnread int64
	// Files is the budget of open files that this log shares with others; nil means that
	// there is none.
	Files *Files
	// Now is the clock that dates records; nil means the system's.
	Now func() time.Time
	// Elapsed is the append clock, by which ages are told: in milliseconds, above 0, it
	// counts on from run to run and no correction of Now moves it. It may be called
	// from any goroutine. nil means Now.
	Elapsed func() int64
	// Logger gets state changes; nil means none.
	Logger *slog.Logger
	// Events are called where something happened; all may be nil.
	Events Events
}

// Events are callbacks for what a log does by itself. They are called in the
// goroutine that did it and must not use the log.
type Events struct {
	// Rolled says that a new segment begins at base.
	Rolled func(base protocol.Offset)
	// Expired says that retention took n segments from the log, which now starts
	// at start.
	Expired func(n int, start protocol.Offset)
	// IndexRebuilt says that the index at path was not usable and was made again.
	IndexRebuilt func(path, why string)
}

const (
	defaultSegmentSize   = 1 << 30
	defaultIndexInterval = 64 << 10
	defaultPreallocate   = 512 << 10
)

func (o Options) withDefaults() Options {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.SegmentSize <= 0 {
		o.SegmentSize = defaultSegmentSize
	}
	if o.IndexInterval <= 0 {
		o.IndexInterval = defaultIndexInterval
	}
	if o.Preallocate == 0 {
		o.Preallocate = defaultPreallocate
	}
	if o.DirectLeast == 0 {
		o.DirectLeast = directLeast
	}
	if o.DirectUnread <= 0 {
		o.DirectUnread = directUnread
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Elapsed == nil {
		now := o.Now
		o.Elapsed = func() int64 { return now().UnixMilli() }
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Events.Rolled == nil {
		o.Events.Rolled = func(protocol.Offset) {}
	}
	if o.Events.Expired == nil {
		o.Events.Expired = func(int, protocol.Offset) {}
	}
	if o.Events.IndexRebuilt == nil {
		o.Events.IndexRebuilt = func(string, string) {}
	}
	return o
}

// Retention says what a log may drop.
type Retention struct {
	// Age: a segment whose newest record was appended longer ago may go. 0 means
	// that age does not matter.
	Age time.Duration
	// Bytes: the oldest segments may go while at least this many bytes stay. 0
	// means that size does not matter.
	Bytes int64
	// IDs is how long the ids of messages are to be recognised: those of dropped
	// ones are kept for GoneIDs. 0 means not at all.
	IDs time.Duration
	// Archive keeps a dropped segment beside the log as <base>.arc.
	Archive bool
	// Compress, with Archive, keeps it as <base>.zip instead.
	Compress bool
}
