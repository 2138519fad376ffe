package client

import (
	"strings"
	"testing"
	"time"
)

func TestAFailedConnectNamesNoUser(t *testing.T) {
	for _, url := range []string{"nats://s3cret@127.0.0.1:1", "s3cret@127.0.0.1:1", "nats://s3cret:s3cret@127.0.0.1:1", "nats://s3cret@:1", "nats://s3cret@127.0.0.1:port"} {
		_, err := Connect(t.Context(), WithServers(url), WithDialTimeout(time.Second))
		if err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("connect to %s: %v", url, err)
		}
	}
}
