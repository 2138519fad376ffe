package front

import (
	"math/bits"
	"runtime"
	"sync"
	"sync/atomic"
)

// memory is what was read from a client, with the requests that lie in it. It is used
// again when all its users have released it; a user who does not leaves it to the garbage
// collector.
type memory struct {
	b     []byte
	users atomic.Int32
	// pinned says that it was left by who read to it. It is apart, for the time when the
	// memory has gone.
	pinned *atomic.Bool
}

// pinnedBytes is what requests keep from being used again, with all that lies beside them.
var pinnedBytes atomic.Int64

// mostPinned bounds that: with more, requests that do not fill their buffer get a copy. A
// client could send little that is kept between much that is not.
const mostPinned = 64 << 20

// Memory that is used again has sizes of three significant bits up to mostMemory, so that
// at most a fifth of it lies idle.
const (
	mostMemory = 10 << 20 // the largest message that is allowed by default, with its line
	sizeBits   = 3
)

var memories [(32 - sizeBits) << (sizeBits - 1)]sync.Pool

// memoryOf returns at least n bytes, not cleared, with one user.
func memoryOf(n int) *memory {
	if n > mostMemory {
		return newMemory(n)
	}
	size, pool := sizeOfMemory(n)
	m, ok := memories[pool].Get().(*memory)
	if !ok {
		return newMemory(size)
	}
	m.users.Store(1)
	return m
}

func newMemory(size int) *memory {
	m := &memory{b: make([]byte, size), pinned: new(atomic.Bool)}
	m.users.Store(1)
	runtime.AddCleanup(m, func(pinned *atomic.Bool) { unpin(pinned, size) }, m.pinned)
	return m
}

func unpin(pinned *atomic.Bool, size int) {
	if pinned.Swap(false) {
		pinnedBytes.Add(-int64(size))
	}
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
	switch left := m.users.Add(-int32(users)); {
	case left < 0:
		panic("front: memory was released more often than it was used")
	case left == 0:
		unpin(m.pinned, len(m.b))
		if len(m.b) <= mostMemory {
			_, pool := sizeOfMemory(len(m.b))
			memories[pool].Put(m)
		}
	}
}

// leave is Release by who has read to it.
func (m *memory) leave() {
	if !m.pinned.Swap(true) {
		pinnedBytes.Add(int64(len(m.b)))
	}
	m.Release(1)
}

// alone says whether its only user is who asks.
func (m *memory) alone() bool { return m.users.Load() == 1 }
