package zookeeper

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"metaq/cluster/registry"
)

// errNotZooKeeper says that whoever answers does not speak ZooKeeper's protocol.
var errNotZooKeeper = errors.New("it answers, but not as ZooKeeper does; check the address and port")

// hello is what a server says first: the session that the connection is for.
type hello struct {
	session registry.SessionID // 0: the session that was asked for has expired
	timeout time.Duration      // as the server granted it
}

// frameGuard follows the bytes that a server sends and finds what the client library
// would not survive: it allocates whatever length the first four bytes name, and slices
// replies without looking at their length. It sees no socket.
//
//	| int32 length | that many bytes | and so on
//
// The first frame is the hello: int32 protocol, int32 timeout in ms, int64 session,
// password, and a read-only flag from newer servers.
type frameGuard struct {
	header [4]byte
	have   int    // bytes of header
	left   int    // bytes of the frame that are still to come
	begun  bool   // the hello's length has been seen
	first  []byte // the hello, as far as it came
	ready  bool   // the hello is complete
}

const (
	minHello = 4 + 4 + 8
	maxHello = 1024
	minFrame = 16 // header of a reply: int32 xid, int64 zxid, int32 error
	maxFrame = 16 << 20
)

// feed takes the next bytes. It returns the hello once, when it is complete.
func (g *frameGuard) feed(b []byte) (*hello, error) {
	var greeting *hello
	for len(b) > 0 {
		if g.left == 0 {
			n := copy(g.header[g.have:], b)
			g.have += n
			b = b[n:]
			if g.have < len(g.header) {
				break
			}
			g.have = 0
			length := int(int32(binary.BigEndian.Uint32(g.header[:])))
			low, high := minFrame, maxFrame
			if !g.begun {
				low, high = minHello, maxHello
			}
			if length < low || length > high {
				return nil, fmt.Errorf("%w: a frame of %d bytes", errNotZooKeeper, length)
			}
			g.begun, g.left = true, length
			continue
		}
		n := min(g.left, len(b))
		g.left -= n
		if !g.ready {
			g.first = append(g.first, b[:n]...)
			if g.left == 0 {
				greeting = &hello{
					timeout: time.Duration(int32(binary.BigEndian.Uint32(g.first[4:]))) * time.Millisecond,
					session: registry.SessionID(binary.BigEndian.Uint64(g.first[8:])),
				}
				g.first, g.ready = nil, true
			}
		}
		b = b[n:]
	}
	return greeting, nil
}
