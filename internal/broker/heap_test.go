package broker

import (
	"runtime"
	"runtime/metrics"
	"testing"
)

func TestTheCollectorDoesNotRunForEveryFewMegabytes(t *testing.T) {
	raiseHeapFloor()
	runtime.GC()
	goal := []metrics.Sample{{Name: "/gc/heap/goal:bytes"}}
	metrics.Read(goal)
	if got := goal[0].Value.Uint64(); got < 2*heapFloor {
		t.Errorf("the collector runs at %d bytes, want at least %d", got, 2*heapFloor)
	}
}
