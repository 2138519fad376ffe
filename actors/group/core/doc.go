// Package core decides for one consumer group: who is a member, who owns which
// partition, what is committed, and where the group begins. It is pure: no clock, log,
// network or goroutine. The shell in package group hands it the time and the requests,
// has its Effects logged, and only then answers.
//
// Start at group.go.
package core
