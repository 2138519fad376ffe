package configs

import (
	"net"
	"testing"
)

func TestTheAdvertisedHostIsOneThatOthersReach(t *testing.T) {
	own := func(texts ...string) []net.Addr {
		var list []net.Addr
		for _, text := range texts {
			ip, network, err := net.ParseCIDR(text)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, &net.IPNet{IP: ip, Mask: network.Mask})
		}
		return list
	}
	for name, c := range map[string]struct {
		hostName, listen string
		own              []net.Addr
		want             string
	}{
		"hostName first":            {"mq.example", "10.0.0.9", own("10.0.0.1/8"), "mq.example"},
		"then what it listens on":   {"", "10.0.0.9", own("10.0.0.1/8"), "10.0.0.9"},
		"a lone broker's loopback":  {"", "127.0.0.1", own("10.0.0.1/8"), "127.0.0.1"},
		"every address: IPv4 first": {"", "0.0.0.0", own("127.0.0.1/8", "fe80::1/64", "2001:db8::5/64", "10.0.0.1/8", "10.0.0.2/8"), "10.0.0.1"},
		"else IPv6":                 {"", "::", own("127.0.0.1/8", "::1/128", "fe80::1/64", "2001:db8::5/64"), "2001:db8::5"},
		"else this machine":         {"", "0.0.0.0", own("127.0.0.1/8", "::1/128"), "127.0.0.1"},
		"no addresses":              {"", "0.0.0.0", nil, "127.0.0.1"},
	} {
		s := &Server{System: System{HostName: c.hostName}, NATS: NATS{Host: c.listen}}
		if got := s.AdvertiseHost(c.own); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}
