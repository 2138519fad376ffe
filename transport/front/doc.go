// Package front is where clients' sockets end: it speaks the NATS protocol and
// stands before the embedded NATS server.
//
// Requests of the data path (put, batch, get, offsets), and what is published to
// topics' own subjects, go from the socket straight to the gateway, and answers
// straight back. All else - and there is much: connecting, subscriptions, groups,
// administration, what clients say to each other - is handed on to the server
// unread, and so is what the server sends. The server would parse, route, queue and copy every request and every
// answer once more on each side; that was two thirds of a put's cost. It also
// gives what the server cannot: who sends faster than the gateway looks is not
// read from until it has caught up.
//
//	front.go   the listener and the table of connections
//	conn.go    one connection: two sockets and three goroutines
//	inbound.go what the client says
//	request.go what of that is for the gateway, some of it at a time
//	memory.go  where that lies, until its partition has copied or written it
//	outbound.go what is said to the client
//	answers.go many answers at a time
//	queue.go   the bytes of that
//	push_linux.go how large ones are written at once
//	subs.go    the client's subscriptions, by which an answer finds its way
//	op.go      the protocol's lines
//
// A client cannot tell the difference. Whatever is unusual - a name or a token,
// verbose mode, an answer that is wanted at another connection, somebody else who
// listens to the same subject - goes the long way, and from then on all of that
// connection does, so that its messages keep their order. ADR 0015 says why.
package front
