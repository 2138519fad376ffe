package front

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"strconv"
	"time"
)

// The first line that a client hears is the front's own. It is made of the one that the
// server says to the front, on a connection that stays open: the server says it again there
// whenever brokers come or go, and the front passes that on.

// infoFields are the fields of the server's INFO that clients get. The front adds the
// client's id and address, and where it listens itself.
var infoFields = []string{
	"server_id", "server_name", "version", "git_commit", "go", "proto", "headers", "max_payload",
	"jetstream", "cluster", "cluster_dynamic", "domain", "connect_urls", "ldm",
}

// info is an INFO line for every client, from what follows its id and address.
type info struct{ rest []byte }

// newInfo makes one of the server's line.
func (f *Front) newInfo(line []byte) (*info, error) {
	word := "INFO "
	if len(line) < len(word) || string(line[:len(word)]) != word {
		return nil, fmt.Errorf("the NATS server's first line is %.100q", line)
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(line[len(word):], &all); err != nil {
		return nil, fmt.Errorf("read the NATS server's INFO: %w", err)
	}
	own := make(map[string]any, len(infoFields)+2)
	for _, name := range infoFields {
		if value, there := all[name]; there {
			own[name] = value
		}
	}
	if host, port, err := net.SplitHostPort(f.listener.Addr().String()); err == nil {
		own["host"] = host
		if f.opts.Host != "" {
			own["host"] = f.opts.Host
		}
		own["port"], _ = strconv.Atoi(port) // a listener's address has a number
	}
	text, err := json.Marshal(own)
	if err != nil {
		return nil, fmt.Errorf("encode INFO: %w", err)
	}
	return &info{rest: text[1:]}, nil
}

// lineFor is the INFO for a client.
func (i *info) lineFor(id uint64, socket net.Conn) []byte {
	at, _ := addressOf(socket)
	ip := ""
	if at.IsValid() {
		ip = at.String()
	}
	return fmt.Appendf(nil, "INFO {\"client_id\":%d,\"client_ip\":%q,%s\r\n", id, ip, i.rest)
}

// greeting is the INFO that follows the first PONG for clients that take one at any time, as
// the server has it: it names their account, which is the same for all.
func (i *info) greeting(id uint64, socket net.Conn) []byte {
	text := i.lineFor(id, socket)
	const first = "INFO {"
	return fmt.Appendf(nil, "%s\"connect_info\":true,\"remote_account\":\"$G\",%s", first, text[len(first):])
}

// ear is the connection on which the server tells the front of changes.
type ear struct {
	net.Conn
	lines *bufio.Reader
}

// listenToServer opens the ear and takes the first INFO.
func (f *Front) listenToServer() (*ear, error) {
	conn, err := f.opts.Server()
	if err != nil {
		return nil, fmt.Errorf("connect to the NATS server: %w", err)
	}
	e := &ear{conn, bufio.NewReader(conn)}
	line, err := e.lines.ReadBytes('\n')
	if err == nil {
		err = f.hearInfo(line)
	}
	if err == nil {
		hello := connect{headers: true, protocol: 1}
		_, err = conn.Write(append(hello.line(), "PING\r\n"...))
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	f.ear = e
	return e, nil
}

// hearInfo takes a new INFO of the server and tells the clients that understand it.
func (f *Front) hearInfo(line []byte) error {
	next, err := f.newInfo(line)
	if err != nil {
		return err
	}
	if last := f.info.Load(); last != nil && string(last.rest) == string(next.rest) {
		return nil
	}
	f.info.Store(next)
	f.mu.RLock()
	defer f.mu.RUnlock()
	for _, c := range f.conns {
		if c.hearsInfo.Load() {
			c.out.inform(next.lineFor(c.id, c.socket))
		}
	}
	return nil
}

// listen follows the server until the front is closed.
func (f *Front) listen(e *ear) {
	for {
		f.follow(e)
		for e = nil; e == nil; {
			select {
			case <-f.done:
				return
			case <-time.After(earAgain):
			}
			e, _ = f.listenToServer() // the server is stopping: it stays away
		}
	}
}

// earAgain is how long the front waits before it connects to the server again.
const earAgain = time.Second

// follow returns when the connection has ended.
func (f *Front) follow(e *ear) {
	defer func() { _ = e.Close() }()
	for {
		line, err := e.lines.ReadBytes('\n')
		if err != nil {
			return
		}
		switch {
		case opOf(line) == opPing:
			if _, err := e.Write([]byte("PONG\r\n")); err != nil {
				return
			}
		case len(line) > 0 && line[0] == 'I':
			if err := f.hearInfo(line); err != nil {
				f.log.Warn("the NATS server's INFO was ignored", "err", err)
			}
		}
	}
}
