package zookeeper

import (
	"slices"
	"testing"
	"time"
)

func TestParseZooKeeperConnect(t *testing.T) {
	for text, want := range map[string]struct {
		servers []string
		chroot  string
	}{
		"a:1":               {[]string{"a:1"}, ""},
		"a:1, b:2 ,c":       {[]string{"a:1", "b:2", "c:2181"}, ""},
		"a:1,b:2/x/y/":      {[]string{"a:1", "b:2"}, "/x/y"},
		"a:1/":              {[]string{"a:1"}, ""},
		"[::1]:2181,[::1]":  {[]string{"[::1]:2181", "[::1]:2181"}, ""},
		"127.0.0.1:2181,,,": {[]string{"127.0.0.1:2181"}, ""},
	} {
		servers, chroot, err := ParseConnect(text)
		if err != nil || !slices.Equal(servers, want.servers) || chroot != want.chroot {
			t.Errorf("%q: %q, %q, %v", text, servers, chroot, err)
		}
	}
}

func TestServersAreTriedInRandomOrderAndAllOfThem(t *testing.T) {
	servers := []string{"a", "b", "c"}
	first := map[string]int{}
	for range 300 {
		h := newZKHosts(servers)
		var round []string
		for i := range 3 {
			server, over := h.Next()
			if over {
				t.Fatalf("the library pauses after %d", i)
			}
			round = append(round, server)
		}
		first[round[0]]++
		slices.Sort(round)
		if !slices.Equal(round, servers) {
			t.Fatalf("tried %q", round)
		}
	}
	for _, s := range servers {
		if first[s] < 50 { // 100 expected; less than 50 comes once in ten million runs
			t.Errorf("%s was the first %d times of 300", s, first[s])
		}
	}
}

func TestThePauseBetweenAttemptsGrowsAndIsBounded(t *testing.T) {
	const session = 4 * time.Second
	h := newZKHosts([]string{"a", "b"})
	var pauses []time.Duration
	for range 10 {
		if _, over := h.Next(); over {
			t.Fatal("the library pauses")
		}
		pauses = append(pauses, h.pause(session)/time.Millisecond)
	}
	if want := []time.Duration{100, 100, 200, 200, 400, 400, 400, 400, 400, 400}; !slices.Equal(pauses, want) {
		t.Errorf("pauses of %v ms, not %v", pauses, want)
	}
	if p := h.pause(30 * time.Second); p != time.Second {
		t.Errorf("a pause of %v for a long session", p)
	}
	h.Connected()
	h.Next()
	if p := h.pause(session); p != dialPause {
		t.Errorf("a pause of %v after a success", p)
	}
	h.end()
	if _, over := h.Next(); !over {
		t.Error("the library does not notice the end")
	}
}
