package main

import (
	"context"
	"fmt"
)

// peerSystems are the optional systems that the user asked for, by name. One that
// cannot be measured says why in its line of every row, so that nobody takes its
// absence for a victory.
func peerSystems(wanted []string) []system {
	var all []system
	for _, name := range wanted {
		switch name {
		case "kafka":
			all = append(all,
				&kafkaSystem{id: sysKafka, says: "written to the page cache (its default: no fsync)"},
				&kafkaSystem{id: sysKafkaSync, says: "fsync done (log.flush.interval.messages=1)", sync: true})
		case "metaq": // the original, in Java
			all = append(all, &absentSystem{"metaq-java"})
		default:
			all = append(all, &absentSystem{name})
		}
	}
	return all
}

// absentSystem is a peer that nobody has taught this program to drive.
type absentSystem struct{ id string }

func (s *absentSystem) name() string  { return s.id }
func (s *absentSystem) about() string { return "unknown" }
func (s *absentSystem) ceiling() bool { return false }

func (s *absentSystem) measure(context.Context, *row, *place) (*sample, error) {
	return nil, fmt.Errorf("this program has no driver for the peer %q: add one beside system_kafka.go", s.id)
}
