package zookeeper

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"metaq/cluster/registry"
)

// A ZooKeeper that was restored from a backup hangs up on sessions that have seen newer
// states, without a word and for ever; a server that only starts, or has lost the others,
// hangs up as well, for a while. They are told apart by asking as a stranger: a server
// that takes one serves, and how it numbers the stranger's coming and going says what it
// knows: every transaction of an ensemble has a higher number than all before it, so both
// come after what was seen, or they belong to another, older history.

// refused looks into a server that did not greet this session, which has seen the
// transaction seen. It is called by the library's goroutine, while nothing is connected,
// and takes no longer than an attempt to connect.
func (s *zkSession) refused(address string, seen int64) {
	if seen == 0 || s.Err() != nil {
		return
	}
	newest, err := s.newest(address)
	switch {
	case err != nil:
		s.o.Log.Debug("a server that refuses the session takes no other", "server", address, "error", err)
	case newest < seen+strangersTransactions:
		s.end(fmt.Errorf("%w: ZooKeeper was set back to an older state: %s is at transaction %#x, and %#x was seen before",
			registry.ErrSessionLost, address, newest, seen))
	}
}

const (
	opAuth         = 100
	opCloseSession = -11
	xidAuth        = -4
	passwordSize   = 16

	strangersTransactions = 2 // it came, it went
)

// newest opens a session of a stranger with a server and closes it again. Both are
// transactions, and the answer to the second names the newest of all.
func (s *zkSession) newest(address string) (int64, error) {
	deadline := time.Now().Add(s.o.DialTimeout)
	conn, err := s.reach("tcp", address, deadline)
	if err != nil {
		return 0, err
	}
	defer context.AfterFunc(s.life, func() { _ = conn.Close() })()
	if err := conn.SetDeadline(deadline); err != nil {
		return 0, errors.Join(err, conn.Close())
	}
	newest, err := askNewest(conn, s.o.SessionTimeout, s.o.Auth)
	return newest, errors.Join(err, conn.Close())
}

// askNewest does so on a connection; with auth it gives that first, since an ensemble may
// be closed to others.
//
//	-> | int32 length | int32 protocol 0 | int64 seen 0 | int32 timeout in ms | int64 session 0 | int32 16 | password |
//	<- | int32 length | hello, see frameGuard |
//	-> | int32 length | int32 request -4 | int32 operation 100 | int32 0 | int32 6 | "digest" | int32 length | auth |
//	<- | int32 length | int32 request | int64 newest transaction | int32 error |
//	-> | int32 length | int32 request 1 | int32 operation -11 |
//	<- | int32 length | int32 request | int64 newest transaction | int32 error |
func askNewest(conn io.ReadWriter, timeout time.Duration, auth string) (int64, error) {
	var hello packet
	hello.int32(0)
	hello.int64(0)
	hello.int32(int(timeout.Milliseconds()))
	hello.int64(0)
	hello.bytes(make([]byte, passwordSize))
	answer, err := exchange(conn, hello, minHello)
	if err != nil {
		return 0, err
	}
	if binary.BigEndian.Uint64(answer[8:]) == 0 {
		return 0, errors.New("it gives no session to a stranger")
	}
	if auth != "" {
		var give packet
		give.int32(xidAuth)
		give.int32(opAuth)
		give.int32(0)
		give.bytes([]byte("digest"))
		give.bytes([]byte(auth))
		if _, err := request(conn, give); err != nil {
			return 0, fmt.Errorf("authenticate: %w", err)
		}
	}
	var goodbye packet
	goodbye.int32(1)
	goodbye.int32(opCloseSession)
	newest, err := request(conn, goodbye)
	if err != nil {
		return 0, fmt.Errorf("close the stranger's session: %w", err)
	}
	return newest, nil
}

// request sends one request and returns the newest transaction that the answer names. An
// answer that is an error names none.
func request(conn io.ReadWriter, p packet) (int64, error) {
	answer, err := exchange(conn, p, minFrame)
	if err != nil {
		return 0, err
	}
	if code := int32(binary.BigEndian.Uint32(answer[12:])); code != 0 {
		return 0, fmt.Errorf("ZooKeeper's error %d", code)
	}
	return int64(binary.BigEndian.Uint64(answer[4:])), nil
}

// packet is a request in ZooKeeper's encoding.
type packet []byte

func (p *packet) int32(v int) { *p = binary.BigEndian.AppendUint32(*p, uint32(int32(v))) }
func (p *packet) int64(v int) { *p = binary.BigEndian.AppendUint64(*p, uint64(v)) }
func (p *packet) bytes(b []byte) {
	p.int32(len(b))
	*p = append(*p, b...)
}

// exchange sends one frame and reads one of at least the given size.
func exchange(conn io.ReadWriter, body packet, least int) ([]byte, error) {
	frame := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	if _, err := conn.Write(append(frame, body...)); err != nil {
		return nil, err
	}
	var header [4]byte
	if _, err := io.ReadFull(conn, header[:]); err != nil {
		return nil, err
	}
	length := int(int32(binary.BigEndian.Uint32(header[:])))
	if length < least || length > maxHello {
		return nil, fmt.Errorf("%w: a frame of %d bytes", errNotZooKeeper, length)
	}
	answer := make([]byte, length)
	_, err := io.ReadFull(conn, answer)
	return answer, err
}
