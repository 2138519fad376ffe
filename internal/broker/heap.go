package broker

import (
	"math"
	"runtime/debug"
	"sync"
)

// heapFloor is how many bytes the garbage collector believes to be alive beside
// what is. It runs when the heap has doubled, and little is alive in a broker, while
// each message above 64 KiB that passes the embedded NATS server is a new object:
// without the floor it ran after every few answers to a reader, and took a quarter
// of the broker's time. Up to so many bytes more garbage lie about before it runs.
const heapFloor = 32 << 20

// floor is never written to, so it takes no memory.
var floor = sync.OnceValue(func() []byte { return make([]byte, heapFloor) })

// raiseHeapFloor leaves alone who bounds the memory.
func raiseHeapFloor() {
	if debug.SetMemoryLimit(-1) == math.MaxInt64 { // only asks
		floor()
	}
}
