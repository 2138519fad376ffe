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
		case "rocketmq":
			all = append(all,
				rocketSystem(sysRocket, "written to the page cache; flushed every 500 ms (its default, ASYNC_FLUSH)", "ASYNC_FLUSH"),
				rocketSystem(sysRocketSync, "fsync done (flushDiskType=SYNC_FLUSH)", "SYNC_FLUSH"))
		case "metaq": // the original, in Java
			all = append(all,
				metaqJavaSystem(sysMetaqJava, "written to the page cache; fsync every 1,000 messages (unflushThreshold=1000)", 1000),
				metaqJavaSystem(sysMetaqJavaSync, "fsync done (unflushThreshold=0, group commit)", 0))
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
