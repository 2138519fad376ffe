package broker

import (
	"runtime"
	"testing"
)

func TestASyncLeavesAPlaceToRun(t *testing.T) {
	was := runtime.GOMAXPROCS(0)
	t.Cleanup(func() { runtime.GOMAXPROCS(was) })
	for _, c := range []struct {
		chosen string // by the environment
		want   int
	}{
		{chosen: "", want: was + 1},
		{chosen: "4", want: was}, // the runtime has obeyed it already
	} {
		runtime.GOMAXPROCS(was)
		spare(c.chosen)
		if got := runtime.GOMAXPROCS(0); got != c.want {
			t.Errorf("GOMAXPROCS=%q: %d goroutines run at a time, want %d", c.chosen, got, c.want)
		}
	}
}
