// Package actors holds those who decide: the broker, the cluster, the topics,
// each topic, each partition and its reader.
//
// Every decision is a pure step (files *_core.go: no clock, file, socket or
// goroutine); the actor around it carries out the effects. The package knows
// neither disk nor network nor registry: it declares the small interfaces that
// it needs (Log, Registry, Admission) and internal/broker plugs them in.
//
// Goroutines: protoactor runs one at a time for each actor that has messages,
// and none for an idle one. Slow work (registry calls, opening logs, disposal
// of segments) runs on workers that the asking actor starts and that answer it
// with a message.
//
// Start at messages.go, then partition_core.go.
package actors
