package main

import (
	"context"
	"slices"
)

// A system is something that can be measured. What is below an interface of this
// kind may be a Go server under our load program, or a peer with its own tools.
type system interface {
	name() string
	// about says in a few words what an acknowledgement of this system means.
	about() string
	// ceiling says that it is no queue but what limits one.
	ceiling() bool
	// measure runs one row on a fresh instance and leaves nothing behind. Errors
	// are shown in the report; the other measurements go on.
	measure(ctx context.Context, r *row, at *place) (*sample, error)
}

// place is where one measurement happens.
type place struct {
	o    *options
	dir  string // empty, for data and logs; removed afterwards
	prof string // start of the profiles' file names; "" for none
}

// sample is one measurement. Costs are the server's in the timed part; -1 where
// they are not known.
type sample struct {
	loadResult
	Allocs  float64 `json:"allocs_per_message"`
	Garbage float64 `json:"garbage_bytes_per_message"`
	CPU     float64 `json:"cpu_us_per_message"`
	RSS     float64 `json:"peak_rss_mib"`
}

// value is the number that stands for the row.
func (s *sample) value(r *row) float64 {
	switch r.Kind {
	case kindFlow:
		return s.P99
	case kindSync:
		return s.P50
	case kindStall:
		return s.RSS
	}
	return s.Rate
}

// allSystems returns those that are wanted, in the order of the report.
func allSystems(o *options) []system {
	all := []system{
		&brokerSystem{id: sysMetaq, says: "fdatasync done (group commit)"},
		&brokerSystem{id: sysRelaxed, says: "written to the page cache; fdatasync every 1,000,000 messages or 10 s", unflush: 1_000_000},
		&natsSystem{id: sysJS, says: "written to the page cache; fsync every 2 min (its default)", store: true},
		&natsSystem{id: sysJSFast, says: "as jetstream, published in fast batches", store: true, fast: true},
		&natsSystem{id: sysJSAlways, says: "fsync done (sync_interval: always)", store: true, always: true},
		&natsSystem{id: sysNATS, says: "nothing stored; counted when delivered"},
		&diskSystem{},
	}
	all = append(all, peerSystems(o.peers)...)
	if len(o.systems) == 0 {
		return all
	}
	return slices.DeleteFunc(all, func(s system) bool { return !slices.Contains(o.systems, s.name()) })
}
