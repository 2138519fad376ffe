package transport

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
)

func TestThePortIsInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	_, err = StartServer(ServerOptions{Host: "127.0.0.1", Port: port, Logger: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "in use") || !strings.Contains(err.Error(), "--nats-port") {
		t.Errorf("NATS: %v", err)
	}
	_, err = StartHTTP(HTTPOptions{Listen: l.Addr().String(), Metrics: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "in use") || !strings.Contains(err.Error(), "--metrics") {
		t.Errorf("metrics: %v", err)
	}
}

func TestAnAddressThatIsNotOurs(t *testing.T) {
	_, err := StartServer(ServerOptions{Host: "192.0.2.1", Port: 4222, Logger: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "192.0.2.1:4222") || !strings.Contains(err.Error(), "host=") {
		t.Errorf("got %v", err)
	}
}

func TestAnExternalServerThatIsNotThere(t *testing.T) {
	_, err := ConnectURL("nats://user:secret@127.0.0.1:1")(func(c net.Conn) net.Conn { return c })
	if err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") || strings.Contains(err.Error(), "secret") || !errors.Is(err, nats.ErrNoServers) {
		t.Errorf("got %v", err)
	}
}

func TestTheServerMayBeStoppedTwice(t *testing.T) {
	s := startServer(t)
	s.Stop()
	s.Stop()
}

func TestHTTP(t *testing.T) {
	var ready atomic.Bool
	reg := prometheus.NewRegistry()
	reg.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "metaq_test", Help: "Test."}))
	h, err := StartHTTP(HTTPOptions{
		Listen: "127.0.0.1:0", Pprof: true, Metrics: reg,
		Ready: func() error {
			if ready.Load() {
				return nil
			}
			return errors.New("partitions are being opened")
		}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	get := func(path string) (int, string) {
		t.Helper()
		resp, err := client.Get("http://" + h.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b)
	}
	for _, tc := range []struct {
		path string
		code int
		text string
	}{
		{"/metrics", 200, "metaq_test 0"},
		{"/healthz", 200, "ok"},
		{"/readyz", 503, "partitions are being opened"},
		{"/debug/pprof/", 200, "goroutine"},
		{"/other", 404, ""},
	} {
		if code, body := get(tc.path); code != tc.code || !strings.Contains(body, tc.text) {
			t.Errorf("%s: %d %.200s", tc.path, code, body)
		}
	}
	ready.Store(true)
	if code, _ := get("/readyz"); code != 200 {
		t.Errorf("/readyz: %d", code)
	}
	if err := h.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

// No limit of time cuts the gateway off: a slow machine is no reason to lose what waits
// for it. It lost 20,817 requests of a flood to the server's usual 10 s.
func TestTheServerWaitsForTheGateway(t *testing.T) {
	s := startServer(t)
	v, err := s.nats.Varz(nil)
	if err != nil {
		t.Fatal(err)
	}
	if v.WriteDeadline < time.Hour {
		t.Errorf("the server waits %v for what it writes to be taken", v.WriteDeadline)
	}
}

// A broker that starts while the registry names others gets its connections: each change of
// the routes is a reload of the server, which closes who is just saying what his account is.
func TestConnectionsAreMadeWhileTheRoutesChange(t *testing.T) {
	s, err := StartServer(ServerOptions{
		Host: "127.0.0.1", Logger: slog.New(slog.DiscardHandler),
		Cluster: &ClusterOptions{Name: "c", Advertise: "127.0.0.1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	var all sync.WaitGroup
	defer all.Wait()
	done := make(chan struct{})
	defer close(done)
	all.Go(func() {
		for port := 10_000; ; port++ {
			select {
			case <-done:
				return
			default:
			}
			if err := s.SetRoutes(map[int]string{1: fmt.Sprintf("nats-route://127.0.0.1:%d", port)}); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for range 100 {
		nc, err := s.ConnectPeers(func(c net.Conn) net.Conn { return c })
		if err != nil {
			t.Fatal(err)
		}
		nc.Close()
	}
}
