package zookeeper

import (
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"metaq/cluster/registry"
)

func TestReadsThatWereCutOffAreMadeAgainAndWritesAreNot(t *testing.T) {
	reset := &net.OpError{Op: "write", Net: "tcp", Err: os.NewSyscallError("write", syscall.ECONNRESET)}
	for _, c := range []struct {
		name  string
		err   error
		write bool
		calls int
		want  error
	}{
		{"a read whose connection was closed", zk.ErrConnectionClosed, false, 2, nil},
		{"a read that could not be sent", reset, false, 2, nil},
		{"a read of a node that is not there", zk.ErrNoNode, false, 1, registry.ErrNotFound},
		{"a write that was perhaps sent", reset, true, 1, registry.ErrUnknownOutcome},
		{"a write that was certainly not sent", zk.ErrNoServer, true, 2, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &zkSession{
				ZooKeeper: &ZooKeeper{o: Options{CallTimeout: 10 * time.Second}},
				done:      make(chan struct{}), slots: make(chan struct{}, 1), linked: make(chan struct{}),
			}
			close(s.linked)
			calls := 0
			v, err := zkCall(t.Context(), s, c.write, func() (int, error) {
				if calls++; calls == 1 {
					return 0, c.err
				}
				return 7, nil
			})
			if calls != c.calls || !errors.Is(err, c.want) || (err == nil) != (v == 7) {
				t.Errorf("%d calls, then %d, %v; want %d calls, then %v", calls, v, err, c.calls, c.want)
			}
		})
	}
}
