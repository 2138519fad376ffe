// Package cli holds what the verbs of the metaq command share: exit codes and
// the form of errors, tables and JSON on stdout, progress on stderr, and the
// reading of argument values.
//
// It decides nothing about messages and talks to no broker. It starts no
// goroutine but one in OnSignals and one in UntilClosed, which end with the
// function that those return.
//
// Start at Report (exit.go), then Table (table.go).
package cli
