// Package link makes the requests of MetaQ's protocol over a NATS connection.
//
// Link is the seam to NATS, which tests replace (see clientfake); NATS implements it.
// Caller makes requests in JSON over a Link. Retriable and MaybeDone classify errors: may the
// request succeed later, may it have been carried out.
//
// Goroutines: a NATS link has one that watches its connection, and Close joins it.
package link
