package broker

import (
	"log/slog"
	"time"

	"metaq/actors"
	"metaq/internal/vfs"
)

// Options are what a broker needs beside its configuration.
type Options struct {
	// Version is the release.
	Version string
	// Logger gets one line for each change of state.
	Logger *slog.Logger
	// Source names where the configured topics stand, for errors. Default
	// "server.ini".
	Source string
	// FS is the file system. Default: the operating system's.
	FS vfs.FS
	// Now is the clock. Default time.Now.
	Now func() time.Time
	// Wait bounds how long a start tries to reach ZooKeeper. 0: for ever.
	Wait time.Duration
	// StopTimeout bounds the ordered stop of Run. Default 30 s; what is not
	// written by then is recovered at the next start.
	StopTimeout time.Duration
	// Events tell the story of messages to a test.
	Events actors.Events
	// PlantGroupBug is for tests of the groups' checker, see group.Deps.
	PlantGroupBug string
}

func (o *Options) complete() {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Source == "" {
		o.Source = "server.ini"
	}
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.StopTimeout == 0 {
		o.StopTimeout = 30 * time.Second
	}
}
