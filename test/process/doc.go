// Package process runs brokers in processes of their own for tests, so that they
// can be killed, paused and told to stop as an operator would. The test binary
// itself is the broker: it starts in seconds with the race detector in it, and
// nothing has to be built first.
package process
