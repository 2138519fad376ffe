package broker

import (
	"context"
	"errors"
	"net"
	"net/url"
	"strings"
	"syscall"
	"time"

	"metaq/cluster"
)

// A broker that was killed leaves its registration behind until its session ends. Who
// takes its place with the same data is recognised by the token in it; one that begins with
// an empty disk, as a replaced machine does, is a stranger, and has to wait that long.

// takenDial bounds the question whether the holder of a broker id lives.
const takenDial = time.Second

// outlived reports whether err says that a process which has ended holds the broker id:
// nothing listens where it announced its NATS server.
func outlived(ctx context.Context, err error) bool {
	var taken *cluster.TakenError
	if !errors.As(err, &taken) {
		return false
	}
	first, _, _ := strings.Cut(taken.Holder.NATS, ",")
	u, parseErr := url.Parse(first)
	if parseErr != nil || u.Port() == "" {
		return false
	}
	d := net.Dialer{Timeout: takenDial}
	c, dialErr := d.DialContext(ctx, "tcp", u.Host)
	if dialErr == nil {
		_ = c.Close() // it was only to see that somebody listens
		return false
	}
	return errors.Is(dialErr, syscall.ECONNREFUSED)
}
