// Command metaq is the whole product in one binary: the broker, and the tools
// to use and to inspect it.
//
// Each verb has a file of its own, which wires flags to a package that does the
// work: client for everything that talks to a broker, internal/broker,
// internal/demo, internal/bench, persistence and configs. Data goes to stdout,
// remarks to stderr; the exit code is 0 when done, 1 when a problem was met and
// 2 when the command was written wrongly.
//
// Start at run (main.go), then newRoot (root.go).
package main
