package cluster

import (
	"slices"
	"testing"
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
		servers, chroot, err := ParseZooKeeperConnect(text)
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
				t.Fatalf("the round is over after %d", i)
			}
			round = append(round, server)
		}
		if _, over := h.Next(); !over {
			t.Fatal("the round is not over after all servers")
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

func TestAReconnectDoesNotPauseBeforeTheOtherServers(t *testing.T) {
	h := newZKHosts([]string{"a", "b"})
	h.Next()
	h.Connected()
	for i := range 2 {
		if _, over := h.Next(); over {
			t.Fatalf("paused before attempt %d", i)
		}
	}
	if _, over := h.Next(); !over {
		t.Fatal("no pause after a round of failures")
	}
}
