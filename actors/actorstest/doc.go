// Package actorstest has what the tests of several rooms of actors share: a log, a
// store of logs, a registry and a gateway in memory, which check what they are given,
// and a process whose messages a test reads.
package actorstest
