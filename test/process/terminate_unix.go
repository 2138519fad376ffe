//go:build unix

package process

import "syscall"

// Pause freezes the process with SIGSTOP until Resume.
func (b *Broker) Pause() { b.t.Helper(); b.Signal(syscall.SIGSTOP) }

// Resume lets a frozen process go on.
func (b *Broker) Resume() { b.t.Helper(); b.Signal(syscall.SIGCONT) }

// Terminate asks the process to stop in order, as an operator does.
func (b *Broker) Terminate() { b.t.Helper(); b.Signal(syscall.SIGTERM) }
