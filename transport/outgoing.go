package transport

import (
	"math/bits"
	"sync"
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"

	"metaq/actors"
	"metaq/transport/front"
)

// outgoing is puts on their way to their partition, with who is answered, in one object.
// It is used again when all have been answered. It is the actors.Memory of its puts.
type outgoing struct {
	actors.Puts
	all   []actors.Put // Puts.All are the first of them
	from  []actor.PID
	users atomic.Int32 // who was not answered
	pool  *sync.Pool
}

// Outgoings have 1, 4 or 16 places.
const placesBits = 2

var outgoings [3]sync.Pool

const _ = uint(1<<(placesBits*(len(outgoings)-1)) - front.ManyRequests) // there is one for all that come together

// newOutgoing returns one with n empty puts, at most front.ManyRequests.
func newOutgoing(n int) *outgoing {
	class := (bits.Len(uint(n-1)) + placesBits - 1) / placesBits
	pool := &outgoings[class]
	o, ok := pool.Get().(*outgoing)
	if !ok {
		places := 1 << (class * placesBits)
		o = &outgoing{all: make([]actors.Put, places), from: make([]actor.PID, places), pool: pool}
		o.Memory = o
	}
	o.All = o.all[:n]
	o.users.Store(int32(n))
	return o
}

// answer says where the answer to a put goes: nowhere when reply is empty.
func (o *outgoing) answer(g *Gateway, put int, reply string) {
	if reply != "" {
		g.replies.Fill(&o.from[put], reply)
		o.All[put].From = &o.from[put]
	}
}

// Release says that so many were answered. It may be called from any goroutine.
func (o *outgoing) Release(puts int) {
	switch left := o.users.Add(-int32(puts)); {
	case left < 0:
		panic("transport: puts were answered more often than they came")
	case left == 0:
		clear(o.from[:len(o.All)]) // the library keeps in a PID where it led to
		clear(o.All)
		o.pool.Put(o)
	}
}
