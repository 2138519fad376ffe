package zookeeper

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// afterGreeting is a connection whose handshake is over, and the server's end of it,
// which takes what it is sent.
func afterGreeting(t *testing.T, session time.Duration) (c *guardedConn, server net.Conn) {
	t.Helper()
	ours, theirs := net.Pipe()
	t.Cleanup(func() { _, _ = ours.Close(), theirs.Close() })
	go func() { _, _ = io.Copy(io.Discard, theirs) }()
	return &guardedConn{
		Conn: ours, session: &zkSession{ZooKeeper: &ZooKeeper{}, granted: session},
		guard: frameGuard{begun: true, ready: true}, sent: true, agreed: true,
	}, theirs
}

func TestASilentServerIsLeftAfterAThirdOfTheSessionOrThreeSeconds(t *testing.T) {
	for session, want := range map[time.Duration]time.Duration{30 * time.Second: maxSilence, 6 * time.Second: 2 * time.Second, 2 * time.Second: minSilence} {
		synctest.Test(t, func(t *testing.T) {
			c, _ := afterGreeting(t, session)
			if err := c.SetReadDeadline(time.Now().Add(session * 2 / 3)); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			if _, err := c.Write([]byte("a request")); err != nil {
				t.Fatal(err)
			}
			_, err := c.Read(make([]byte, 10))
			if took := time.Since(began); !errors.Is(err, os.ErrDeadlineExceeded) || took != want {
				t.Errorf("a session of %v: %v after %v, not after %v", session, err, took, want)
			}
			_ = c.Close()
		})
	}
}

func TestAnyWordOfTheServerIsASignOfLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const session = 30 * time.Second
		c, server := afterGreeting(t, session)
		began := time.Now()
		if err := c.SetReadDeadline(began.Add(session * 2 / 3)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte("a request")); err != nil {
			t.Fatal(err)
		}
		go func() {
			<-time.After(maxSilence - time.Millisecond)
			_, _ = server.Write([]byte{0, 0, 0, minFrame})
		}()
		if _, err := io.ReadFull(c, make([]byte, 4)); err != nil {
			t.Fatal(err)
		}
		_, err := c.Read(make([]byte, minFrame)) // nothing is asked any more
		if took := time.Since(began); !errors.Is(err, os.ErrDeadlineExceeded) || took != session*2/3 {
			t.Errorf("%v after %v", err, took)
		}
		_ = c.Close()
	})
}

func TestWhatWasSeenIsReadFromTheGreeting(t *testing.T) {
	hello := []byte{0, 0, 0, 44, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 9, 0, 0, 0x75, 0x30}
	if seen := seenIn(hello); seen != 7<<32+9 {
		t.Errorf("seen %#x", seen)
	}
	if seen := seenIn(hello[:15]); seen != 0 {
		t.Errorf("seen %#x in a cut greeting", seen)
	}
}
