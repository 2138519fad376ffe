// Package group keeps a client.Consumer a member of its group.
//
// Membership joins, sends heartbeats, commits and leaves; what the group assigns it
// reports through Callbacks. Place is a position with the epoch that tells it from the
// same offset of another log.
package group
