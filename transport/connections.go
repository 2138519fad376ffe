package transport

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// made says for whom this process opened a connection to its NATS server.
type made int

const (
	forClient  made = iota + 1 // the front, on behalf of a client
	forGateway                 // the gateway, among the clients
	forPeers                   // the gateway, in the brokers' account
)

// connections knows every connection that this process has opened to its embedded server, by
// the id that the server gives it in its first line. It is the server's authenticator in a
// cluster: what a connection may do follows from who opened it, so there is no password that a
// peer could guess, and a connection that the process did not open is refused.
//
// The server asks again for every connection at each reload, so an entry stays as long as its
// connection. The ids do not come from the client library, which holds its lock while it
// writes: who reads for the server must not wait for that.
type connections struct {
	server *server.Server // set before the first connection

	mu   sync.RWMutex // guards byID; nothing is called under it
	byID map[uint64]made
}

func newConnections() *connections { return &connections{byID: make(map[uint64]made)} }

// open connects to the server within the process and notes for whom.
func (c *connections) open(who made) (*madeConn, error) {
	conn, err := c.server.InProcessConn()
	if err != nil {
		return nil, err
	}
	m := &madeConn{Conn: conn, all: c}
	if m.id, m.first, err = introduction(conn); err != nil {
		_ = conn.Close()
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.byID[m.id] = who
	return m, nil
}

// of returns for whom a connection was opened; 0 when this process did not open it.
func (c *connections) of(id uint64) made {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.byID[id]
}

// isOwn reports whether a log line of the server is about one of the broker's connections.
func (c *connections) isOwn(line string) bool {
	_, rest, _ := strings.Cut(line, connection)
	digits := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	if digits < 0 {
		digits = len(rest)
	}
	id, err := strconv.ParseUint(rest[:digits], 10, 64)
	if err != nil {
		return false
	}
	who := c.of(id)
	return who == forGateway || who == forPeers
}

func (c *connections) forget(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.byID, id)
}

// Check implements server.Authentication.
//
// The verdict has no name: the server closes a connection with one at its next reload.
func (c *connections) Check(client server.ClientAuthentication) bool {
	switch c.of(client.GetID()) {
	case 0:
		return false
	case forClient, forGateway:
		client.RegisterUser(&server.User{})
		return true
	}
	peers, err := c.server.LookupAccount(peersAccount)
	if err != nil {
		return false
	}
	client.RegisterUser(&server.User{Account: peers})
	return true
}

// introductionSize is more than the server's first line takes by far.
const introductionSize = 4 << 10

// introduction reads the first line of the server, INFO, and returns the id in it.
func introduction(conn net.Conn) (id uint64, line []byte, err error) {
	if err := conn.SetReadDeadline(time.Now().Add(dialTimeout)); err != nil {
		return 0, nil, err
	}
	r := bufio.NewReaderSize(conn, introductionSize)
	if line, err = r.ReadBytes('\n'); err != nil {
		return 0, nil, fmt.Errorf("read the NATS server's first line: %w", err)
	}
	var info struct {
		ClientID uint64 `json:"client_id"`
	}
	text, is := bytes.CutPrefix(line, []byte("INFO "))
	if err := json.Unmarshal(text, &info); !is || err != nil || info.ClientID == 0 {
		return 0, nil, fmt.Errorf("the NATS server's first line has no client_id: %.100q", line)
	}
	more, _ := r.Peek(r.Buffered()) // what the server said in the same write, such as that it is full
	return info.ClientID, append(line, more...), conn.SetReadDeadline(time.Time{})
}

// madeConn is a connection to the server. Its reader gets the server's first line, too.
type madeConn struct {
	net.Conn
	all   *connections
	id    uint64
	first []byte // of the reader
}

// Read implements net.Conn; one goroutine reads.
func (m *madeConn) Read(p []byte) (int, error) {
	if len(m.first) > 0 {
		n := copy(p, m.first)
		if m.first = m.first[n:]; len(m.first) == 0 {
			m.first = nil
		}
		return n, nil
	}
	return m.Conn.Read(p)
}

// Close implements net.Conn. It may be called more than once.
func (m *madeConn) Close() error {
	err := m.Conn.Close()
	m.all.forget(m.id)
	return err
}
