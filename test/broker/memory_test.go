package broker

import (
	"runtime/debug"
	"testing"
)

func TestTheMemoryLimitIsThatOfTheProcess(t *testing.T) {
	limit := func() int64 { return debug.SetMemoryLimit(-1) } // only asks
	was := limit()
	b := start(t, options{flags: map[string]string{"memory-limit": "512MiB"}})
	if got := limit(); got != 512<<20 {
		t.Errorf("the limit is %d while the broker runs", got)
	}
	b.stop()
	if got := limit(); got != was {
		t.Errorf("the limit is %d afterwards, and was %d", got, was)
	}
	start(t, options{})
	if got := limit(); got != was {
		t.Errorf("without the key the limit is %d, and was %d", got, was)
	}
}
