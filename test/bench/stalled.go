package main

import (
	"context"
	"errors"
	"net"
	"os"
	"time"
)

// stallOn speaks just enough NATS to subscribe and to ask again and again, and
// never reads what comes. When the server cuts the connection it makes a new one.
// ask may be empty: then the subscription alone brings messages.
func stallOn(ctx context.Context, url, subscribe, ask string, every time.Duration) (cuts int, err error) {
	address := hostPort(url)
	for ctx.Err() == nil {
		var d net.Dialer
		c, err := d.DialContext(ctx, "tcp", address)
		if err != nil {
			if ctx.Err() != nil {
				break
			}
			return cuts, err
		}
		if err := askAndIgnore(ctx, c, subscribe, ask, every); err != nil {
			return cuts, errors.Join(err, c.Close())
		}
		if ctx.Err() == nil {
			cuts++
		}
		_ = c.Close() // cut already, or no longer wanted
	}
	return cuts, nil
}

// askAndIgnore returns nil when the server has cut the connection or ctx has ended.
func askAndIgnore(ctx context.Context, c net.Conn, subscribe, ask string, every time.Duration) error {
	if _, err := c.Write([]byte(`CONNECT {"verbose":false,"pedantic":false,"protocol":1}` + "\r\nPING\r\n" + subscribe)); err != nil {
		return err
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if ask == "" {
			ask = "PING\r\n"
		}
		if err := c.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
			return err
		}
		// A server that has stopped reading is as good as one that reads: go on.
		if _, err := c.Write([]byte(ask)); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
	}
}
