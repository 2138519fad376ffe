package broker

import (
	"context"
	"runtime/debug"

	"metaq/configs"
)

// limitMemory makes the configured limit that of the process. Without one it
// leaves what GOMEMLIMIT says.
func (b *Broker) limitMemory() {
	limit := b.cfg.System.MemoryLimit
	if limit == 0 {
		return
	}
	was := debug.SetMemoryLimit(limit)
	b.onClose(func(context.Context) error { debug.SetMemoryLimit(was); return nil })
	b.log.Info("memory limit set", "bytes", limit)
}

// outbound returns how many bytes may wait for clients.
func outbound(s *configs.System) int64 {
	if s.MemoryLimit > 0 {
		return min(s.MaxOutboundBytes, s.MemoryLimit/4)
	}
	return s.MaxOutboundBytes
}
