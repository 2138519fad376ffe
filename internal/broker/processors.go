package broker

import (
	"os"
	"runtime"
	"sync"
)

// spareOnce is spare for a process, however many brokers it runs.
var spareOnce = sync.OnceFunc(func() { spare(os.Getenv("GOMAXPROCS")) })

// spare lets one goroutine more run at a time than there are processors. A sync
// or a write that waits for the disk holds the place of one that could run, until
// the runtime takes it away: on two cores half of the broker then stands still.
// It leaves alone who has chosen.
func spare(chosen string) {
	if chosen == "" {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1)
	}
}
