package transport

import "metaq/protocol"

// windowLimits bound what one other broker is to answer. Each kind has its own places:
// readers that wait do not keep producers out.
type windowLimits struct {
	puts, reads, groups Limits
}

// defaultWindow is more than a healthy broker has before it at any moment: its puts are
// twenty times what goes over a fast network while a disk syncs. It is 32 MiB in all.
var defaultWindow = windowLimits{
	puts:   Limits{Requests: 16_384, Bytes: 16 << 20},
	reads:  Limits{Requests: 65_536, Bytes: 8 << 20},
	groups: Limits{Requests: 65_536, Bytes: 8 << 20},
}

// window is what one other broker is to answer.
type window struct {
	puts, reads, groups *budget
}

func newWindow(l windowLimits) *window {
	return &window{newBudget(l.puts), newBudget(l.reads), newBudget(l.groups)}
}

// of returns the part for an operation.
func (w *window) of(op string) *budget {
	switch op {
	case protocol.OpPut, protocol.OpBatch:
		return w.puts
	case opGroup:
		return w.groups
	default:
		return w.reads
	}
}

// windowOf makes the limits of a gateway's windows: never more than it takes itself.
func windowOf(o *Options) windowLimits {
	least := func(a, b Limits) Limits { return Limits{min(a.Requests, b.Requests), min(a.Bytes, b.Bytes)} }
	l := defaultWindow
	l.puts, l.reads = least(l.puts, o.Total), least(l.reads, o.Reads)
	return l
}
