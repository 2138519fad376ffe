// Package front is where clients' sockets end: it speaks the NATS protocol and
// stands before the embedded NATS server.
//
// It is the only way in. It says INFO, decides about CONNECT, and reads every line.
// Requests to the broker, and what is published to topics' own subjects, go from the
// socket straight to the gateway, and answers straight back. What clients say to each
// other goes to the server, on a connection for each client that needs one.
// The server never carries a request: it would parse, route, queue and copy each of
// them once more, which was two thirds of a put's cost, and clients could stand among
// those who answer. Who sends faster than the gateway looks is not read from until it
// has caught up.
//
//	front.go   the listener and the table of connections
//	info.go    the first line that clients hear, and what it is made of
//	connect.go what clients say of themselves
//	conn.go    one connection: before CONNECT and after it
//	parked.go  clients that need no connection to the server
//	inbound.go what the client says
//	taking.go  what of that is for the gateway
//	request.go the same, some of it at a time
//	memory.go  where that lies, until its partition has copied or written it
//	unfinished.go what large messages may take before they are whole
//	outbound.go what is said to the client
//	answers.go many answers at a time
//	queue.go   the bytes of that
//	push_linux.go how large ones are written at once
//	subs.go    the client's subscriptions, by which an answer finds its way
//	op.go      the protocol's lines
//
// A line that can be read in two ways ends its connection. An answer that another
// connection wants, or a queue group, goes by the server. ADR 0023 says why.
package front
