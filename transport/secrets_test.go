package transport

import (
	"net"
	"strings"
	"testing"
)

func TestAFailedConnectionToNATSNamesNoUser(t *testing.T) {
	for _, url := range []string{"nats://s3cret@127.0.0.1:1", "nats://s3cret:s3cret@127.0.0.1:1", "nats://s3 cret:s3cret@127.0.0.1:1", "nats://s3cret@127.0.0.1:port"} {
		_, err := ConnectURL(url)(func(c net.Conn) net.Conn { return c })
		if err == nil || strings.Contains(err.Error(), "s3") || !strings.Contains(err.Error(), "127.0.0.1") {
			t.Errorf("connect to %s: %v", url, err)
		}
	}
}
