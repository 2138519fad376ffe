package actors

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Each function runs at once, however many others are not done; and many, one after the
// other, do not leave a goroutine each.
func TestHandsAreAlwaysFree(t *testing.T) {
	h, before := NewPool(), runtime.NumGoroutine()
	const n = 4 * idleHands
	var begun sync.WaitGroup
	goOn := make(chan bool)
	begun.Add(n)
	for range n {
		h.Run(func() {
			begun.Done()
			<-goOn
		})
	}
	begun.Wait() // all of them at a time
	close(goOn)
	var ran atomic.Int64
	for range 1000 {
		done := make(chan bool)
		h.Run(func() {
			ran.Add(1)
			close(done)
		})
		<-done
	}
	late := time.Now().Add(5 * time.Second)
	for left := runtime.NumGoroutine() - before; left > idleHands; left = runtime.NumGoroutine() - before {
		if time.Now().After(late) {
			t.Fatalf("%d goroutines are left", left)
		}
		runtime.Gosched()
	}
	h.Wait()
	if ran.Load() != 1000 || len(h.idle) != 0 {
		t.Errorf("%d of 1000 ran, %d still wait", ran.Load(), len(h.idle))
	}
}
