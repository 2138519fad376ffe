package cluster

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"
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
			ErrSessionLost, address, newest, seen))
	}
}

const (
	opCloseSession = -11
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
	newest, err := askNewest(conn, deadline, s.o.SessionTimeout)
	if err != nil {
		_ = conn.Close()
		return 0, err
	}
	return newest, conn.Close()
}

// askNewest does so on a connection.
//
//	-> | int32 length | int32 protocol 0 | int64 seen 0 | int32 timeout in ms | int64 session 0 | int32 16 | password |
//	<- | int32 length | hello, see frameGuard |
//	-> | int32 length | int32 request 1 | int32 operation -11 |
//	<- | int32 length | int32 request 1 | int64 newest transaction | int32 error |
func askNewest(conn net.Conn, deadline time.Time, timeout time.Duration) (int64, error) {
	if err := conn.SetDeadline(deadline); err != nil {
		return 0, err
	}
	var body []byte
	body = binary.BigEndian.AppendUint32(body, 0)
	body = binary.BigEndian.AppendUint64(body, 0)
	body = binary.BigEndian.AppendUint32(body, uint32(timeout.Milliseconds()))
	body = binary.BigEndian.AppendUint64(body, 0)
	body = binary.BigEndian.AppendUint32(body, passwordSize)
	body = append(body, make([]byte, passwordSize)...)
	if _, err := exchange(conn, body, minHello); err != nil {
		return 0, err
	}
	body = binary.BigEndian.AppendUint32(nil, 1)
	operation := int32(opCloseSession)
	body = binary.BigEndian.AppendUint32(body, uint32(operation))
	reply, err := exchange(conn, body, minFrame)
	if err != nil {
		return 0, err
	}
	return int64(binary.BigEndian.Uint64(reply[4:])), nil
}

// exchange sends one frame and reads one of at least the given size.
func exchange(conn net.Conn, body []byte, least int) ([]byte, error) {
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
