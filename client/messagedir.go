package client

// MessageDir is where consumers keep what must survive the restart of their
// process: the messagedir of metaq.ini. Package messagedir makes one. Its methods
// may be called from any goroutine.
type MessageDir interface {
	// OpenConsumer opens what a consumer keeps: the one of group that is called
	// instance, or, when that is "", the only one of group in this directory. It is
	// an error while another one has it open, also in another process.
	OpenConsumer(group, instance string) (ConsumerStore, error)
}

// ConsumerStore is what one consumer keeps. All but the offsets' methods may be
// called from any goroutine.
type ConsumerStore interface {
	// The offsets of a broadcast consumer.
	OffsetStore
	// Keep keeps r; when it returns nil r is on disk. A record that is kept already
	// stays kept once. An error means that r may be or not be kept: after a restart
	// it may be there. r's bytes are the caller's when it returns.
	Keep(r Record) error
	// Kept lists the numbers of the records that are kept, in the order of Keep.
	Kept() ([]int64, error)
	// Record returns one of them.
	Record(number int64) (Record, error)
	// Drop lets go of one of them; when it returns nil that is on disk.
	Drop(number int64) error
	// Close lets the next consumer open it. It may be called again.
	Close() error
}
