//go:build unix

package process

import "syscall"

// Terminate asks the process to stop in order, as an operator does.
func (b *Broker) Terminate() { b.t.Helper(); b.Signal(syscall.SIGTERM) }
