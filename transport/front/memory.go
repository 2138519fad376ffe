package front

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

// memory is what was read from a client, with the requests that lie in it. It is used
// again when all its users have released it; a user who does not leaves it to the garbage
// collector.
type memory struct {
	b     []byte
	users atomic.Int32
}

// Memory that is used again has sizes of three significant bits up to mostMemory, so that
// at most a fifth of it lies idle.
const (
	mostMemory = 8 << 20
	sizeBits   = 3
)

var memories [(32 - sizeBits) << (sizeBits - 1)]sync.Pool

// memoryOf returns at least n bytes, not cleared, with one user.
func memoryOf(n int) *memory {
	if n > mostMemory {
		m := &memory{b: make([]byte, n)}
		m.users.Store(1)
		return m
	}
	size, pool := sizeOfMemory(n)
	m, ok := memories[pool].Get().(*memory)
	if !ok {
		m = &memory{b: make([]byte, size)}
	}
	m.users.Store(1)
	return m
}

// sizeOfMemory returns the size of which memory for n bytes is, and its pool.
func sizeOfMemory(n int) (size, pool int) {
	n = max(n, 1<<sizeBits)
	shift := bits.Len(uint(n-1)) - sizeBits
	steps := (n-1)>>shift + 1
	return steps << shift, shift<<(sizeBits-1) + steps - (1<<(sizeBits-1) + 1)
}

// Release says that so many users have no more use for it. It may be called from any
// goroutine.
func (m *memory) Release(users int) {
	if m.users.Add(-int32(users)) == 0 && len(m.b) <= mostMemory {
		_, pool := sizeOfMemory(len(m.b))
		memories[pool].Put(m)
	}
}

// alone says whether its only user is who asks.
func (m *memory) alone() bool { return m.users.Load() == 1 }
