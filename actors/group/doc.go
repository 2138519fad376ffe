// Package group runs the consumer groups that this broker coordinates.
//
// The groups actor (groups.go) owns the log of all groups (log.go), claims them in the
// registry and mirrors their offsets there (mirror.go, begins.go). Each group that is in
// use has an actor of its own (group.go), the shell around package core, which decides.
// An answer is given once what it says is durable.
//
// Start at core/group.go, then group.go and groups.go.
package group
