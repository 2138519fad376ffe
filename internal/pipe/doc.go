// Package pipe carries lines into a topic and messages out of it: what
// `metaq produce` and `metaq consume` do between a stream and the client.
//
// Produce has a goroutine that collects the acknowledgements, which it joins, and
// one that reads lines ahead, which ends with the stream or with its next read
// after Produce has returned. Consume has one that fetches ahead, which it joins.
//
// Start at Produce, then Consume.
package pipe
