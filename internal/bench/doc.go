// Package bench puts a topic under load and measures it: messages and bytes a
// second, and the percentiles of the time that one message takes.
//
// Each producer and the consumer are goroutines of Produce and Consume, which
// return when all of them have. Start at Produce.
package bench
