// Package lines cuts a stream of bytes into messages, one a line.
//
// It knows nothing of brokers; it holds one line at a time and starts no
// goroutine. Start at Reader.
package lines
