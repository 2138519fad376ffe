package configs

import "net"

// AdvertiseHost gives the host under which others reach this broker: hostName;
// else the address that its NATS server listens on; else, when that is every
// address, one of own, as MetaQ chooses it: the first IPv4 address that is no
// loopback, else such an IPv6 address, else 127.0.0.1. Pass net.InterfaceAddrs()
// for own. An IPv6 address comes without brackets.
func (s *Server) AdvertiseHost(own []net.Addr) string {
	if s.System.HostName != "" {
		return s.System.HostName
	}
	if ip := net.ParseIP(s.NATS.Host); s.NATS.Host != "" && (ip == nil || !ip.IsUnspecified()) {
		return s.NATS.Host
	}
	var six string
	for _, addr := range own {
		network, ok := addr.(*net.IPNet)
		if !ok || !network.IP.IsGlobalUnicast() {
			continue // loopback, link-local and multicast addresses reach nobody
		}
		if four := network.IP.To4(); four != nil {
			return four.String()
		}
		if six == "" {
			six = network.IP.String()
		}
	}
	if six != "" {
		return six
	}
	return "127.0.0.1"
}
