package broker

import (
	"errors"
	"fmt"
	"net"
	"testing"

	"metaq/cluster"
)

func TestABrokerIDOfAProcessThatHasEndedIsWaitedFor(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	taken := func(url string) error {
		return fmt.Errorf("join: %w", &cluster.TakenError{ID: 1, Holder: cluster.Broker{ID: 1, NATS: url}})
	}
	if outlived(t.Context(), taken("nats://"+address)) {
		t.Error("somebody listens, and counts as ended")
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if !outlived(t.Context(), taken("nats://"+address)) {
		t.Error("nobody listens, and counts as alive")
	}
	for _, err := range []error{taken(""), taken("nats://no such host:1"), errors.New("other")} {
		if outlived(t.Context(), err) {
			t.Errorf("%v counts as ended", err)
		}
	}
}
