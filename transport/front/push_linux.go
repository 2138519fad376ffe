package front

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// rawSocket is a client's socket, past the runtime's way to wait for it.
type rawSocket struct {
	socket net.Conn
	raw    syscall.RawConn
	now    [][]byte // kept for the next push
}

// newPusher returns nil for a connection that is no socket.
func newPusher(c net.Conn) pusher {
	s, ok := c.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return nil
	}
	return &rawSocket{socket: c, raw: raw}
}

// push implements pusher. What goes wrong will go wrong for the writer, too, who says so.
func (s *rawSocket) push(parts []part) (taken int) {
	const most = 64 // parts; the writer takes more
	for _, p := range parts[:min(len(parts), most)] {
		s.now = append(s.now, p.b)
	}
	if s.socket.SetWriteDeadline(time.Now().Add(writePatience)) == nil {
		_ = s.raw.Write(func(fd uintptr) bool {
			if n, err := unix.Writev(int(fd), s.now); err == nil {
				taken = n
			}
			return true
		})
	}
	clear(s.now)
	s.now = s.now[:0]
	return taken
}
