//go:build !linux

package vfs

// SyncData makes the file durable.
func (f systemFile) SyncData() error { return f.Sync() }
