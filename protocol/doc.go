// Package protocol holds the codecs that brokers and clients share: names and
// subjects, the batch (the unit of write, checksum, compression and fetch),
// requests and replies, and the error codes of the wire.
//
// Everything here is pure: no clock, file, socket, goroutine or random source,
// so every function may be called from any goroutine unless its docstring says
// otherwise. Every byte that comes from outside is checked before it is used to
// slice or to allocate.
//
// Start at Batch (batch.go), then Subjects (subjects.go) and Error (errors.go).
package protocol
