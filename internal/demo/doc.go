// Package demo is the main job on real input: it starts a broker as a process
// of its own, publishes every line of a text with a key, reads all of them back
// through the public client, and proves that nothing was lost, repeated,
// changed or put out of order within its key.
//
// The proof is Ledger: what was sent is entered in it before it goes out, and
// every message that comes back must be the next one of its key, byte for byte.
//
// One goroutine waits for the broker's process; Broker.Stop and Broker.Kill
// join it. Start at Run, then Ledger.
package demo
