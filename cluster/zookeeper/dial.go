package zookeeper

import (
	"crypto/tls"
	"net"
	"time"

	"metaq/cluster/registry"
)

// dial connects to one server. It never does so for a session that has ended: this is
// what keeps the library from opening a new one in its place and running the waiting
// requests there.
func (s *zkSession) dial(network, address string, _ time.Duration) (net.Conn, error) {
	conn, err := s.dialOne(network, address)
	if err != nil {
		s.hosts.failed(address, err)
	}
	return conn, err
}

func (s *zkSession) dialOne(network, address string) (net.Conn, error) {
	s.mu.Lock()
	pause := s.hosts.pause(s.o.SessionTimeout) - time.Since(s.dialed[address])
	s.mu.Unlock()
	if pause > 0 {
		registry.Wait(s.life, pause)
	}
	if err := s.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.dialed[address] = time.Now()
	s.mu.Unlock()
	deadline := time.Now().Add(s.o.DialTimeout)
	conn, err := s.reach(network, address, deadline)
	if err != nil {
		return nil, err
	}
	g := &guardedConn{Conn: conn, session: s, address: address, handshake: deadline}
	s.mu.Lock()
	s.socket = g
	s.mu.Unlock()
	return g, nil
}

// reach opens a socket to a server, until the deadline or the end of the session.
func (s *zkSession) reach(network, address string, deadline time.Time) (net.Conn, error) {
	dialer := net.Dialer{Deadline: deadline}
	if s.o.TLS != nil {
		return (&tls.Dialer{NetDialer: &dialer, Config: s.o.TLS}).DialContext(s.life, network, address)
	}
	return dialer.DialContext(s.life, network, address)
}
