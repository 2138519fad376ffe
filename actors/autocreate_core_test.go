package actors

import (
	"strconv"
	"testing"
	"time"
)

func TestTopicsByFirstUseAreBoundedForEachOrigin(t *testing.T) {
	c := &Creators{PerMinute: 10, By: map[string]*Creator{}}
	now := time.Unix(1000, 0)
	made := func(origin string) (n int) {
		for c.Take(origin, now) {
			n++
		}
		return n
	}
	if n := made("a"); n != 10 {
		t.Errorf("a made %d", n)
	}
	if n := made("b"); n != 10 {
		t.Errorf("b made %d after a was refused", n)
	}
	now = now.Add(30 * time.Second)
	if n := made("a"); n != 5 {
		t.Errorf("a made %d after half a minute", n)
	}
	now = now.Add(-time.Hour) // the clock was set back
	if n := made("a"); n != 0 {
		t.Errorf("a made %d when the clock went back", n)
	}
	now = now.Add(2 * time.Hour)
	for i := range 3 * maxCreators {
		c.Take(strconv.Itoa(i), now)
	}
	if len(c.By) > maxCreators+1 {
		t.Errorf("%d origins are remembered", len(c.By))
	}
	now = now.Add(time.Minute)
	if !c.Take("new", now) || len(c.By) > 2 {
		t.Errorf("%d origins are remembered after a minute", len(c.By))
	}
}
