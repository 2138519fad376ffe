package transport

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"metaq/protocol"
)

// The HTTP server has few connections, and one that is closed makes room.
func TestHTTPConnectionsAreBounded(t *testing.T) {
	h, err := StartHTTP(HTTPOptions{Listen: "127.0.0.1:0", Metrics: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := h.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	open := func() net.Conn {
		c, err := net.Dial("tcp", h.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	var held []net.Conn
	for range httpConns {
		c := open()
		defer c.Close()
		held = append(held, c)
		if _, err := io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 15)); err != nil {
			t.Fatal(err)
		}
	}
	more := open()
	defer more.Close()
	if n, err := more.Read(make([]byte, 1)); err == nil {
		t.Errorf("%d bytes on one that is too many", n)
	}
	held[0].Close()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	eventually(t, "there is room again", func() bool {
		resp, err := client.Get("http://" + h.Addr().String() + "/healthz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	if s := h.server; s.ReadHeaderTimeout == 0 || s.IdleTimeout == 0 || s.MaxHeaderBytes == 0 {
		t.Errorf("%v %v %d", s.ReadHeaderTimeout, s.IdleTimeout, s.MaxHeaderBytes)
	}
}

// Where a message was published the broker says, and not who puts it.
func TestAPutDoesNotSayWhereItWasPublished(t *testing.T) {
	r := newRig(t, nil)
	answer := r.ask("metaq.put.t.0-0", nats.Header{protocol.HeaderSubject: {"orders.vip"}}, "x")
	if codeOf(t, answer) != 400 || !strings.Contains(answer, protocol.HeaderSubject) {
		t.Error(answer)
	}
	if n := len(r.parts[0].stored()); n != 0 {
		t.Errorf("%d messages are stored", n)
	}
}

// The server refuses what the front does not file: both have the same bounds.
func TestTheServerRefusesSubscriptions(t *testing.T) {
	s, err := StartServer(ServerOptions{Host: "127.0.0.1", MaxSubscriptions: 20, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	errs := make(chan error, 100)
	nc, err := nats.Connect("nats://"+s.Addr().String(), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { errs <- err }))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	for i := range 21 {
		if _, err := nc.SubscribeSync(fmt.Sprint("s.", i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-errs; !strings.Contains(err.Error(), "maximum subscriptions") {
		t.Error(err)
	}
	if n := s.Front().RefusedSubs(); n != 1 {
		t.Errorf("%d were counted", n)
	}
}

// The server's own lines about a client have no address and no bound; the front tells of them.
func TestTheServersLinesAboutClientsAreNotLogged(t *testing.T) {
	var text strings.Builder
	l := &natsLog{log: slog.New(slog.NewTextHandler(&text, nil)), own: func(line string) bool { return strings.Contains(line, "cid:1 ") }}
	for _, log := range []func(string, ...any){l.Errorf, l.Warnf, clusterLog{l}.Errorf} {
		log("pipe - cid:7 - v1:go - bad")
		log("pipe - cid:1 - v1:go - slow consumer")
		log("the server itself")
	}
	if n := strings.Count(text.String(), "\n"); n != 6 || strings.Contains(text.String(), "cid:7") {
		t.Errorf("%d lines:\n%s", n, text.String())
	}
}
