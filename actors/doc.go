// Package actors holds the words and the rules of those who decide: the messages,
// the interfaces that they need, and how an actor is spawned and fails.
//
// The actors themselves have rooms of their own: partition owns one log, topic the
// topics and their partitions, group the consumer groups, and system the tree: the
// order of start and stop, and dead letters. Imports go one way: system imports topic,
// topic imports partition, and everybody imports this package. Package actorstest has
// what their tests share.
//
// Every decision is a pure step (files *core.go and package group/core: no clock,
// file, socket or goroutine); the actor around it carries out the effects. The actors
// know neither disk nor network nor registry: this package declares the small
// interfaces (Log, LogStore, Registry, Cluster, Gateway, Admission) and internal/broker
// plugs them in.
//
// Goroutines: protoactor runs one at a time for each actor that has messages,
// and none for an idle one. Slow work (registry calls, opening logs, disposal
// of segments) runs on workers that the asking actor starts and that answer it
// with a message.
//
// Every request is answered once, also when its actor has stopped: see Refusable.
//
// Start at messages.go, then partition/core.go.
package actors
