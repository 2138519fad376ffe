package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// HTTPOptions are those of the server for operators.
type HTTPOptions struct {
	// Listen is host:port; port 0 picks a free one.
	Listen string
	// Pprof adds Go's profiles under /debug/pprof/.
	Pprof   bool
	Metrics prometheus.Gatherer
	// Ready returns nil when the broker serves, else why not. It is called for
	// each request of /readyz, from any goroutine.
	Ready  func() error
	Logger *slog.Logger
}

// HTTP serves /metrics, /healthz, /readyz and, when asked for, /debug/pprof/.
// It has no password: it belongs on a trusted network.
type HTTP struct {
	server *http.Server
	addr   net.Addr
	done   chan struct{}
}

// StartHTTP listens and serves until Stop.
func StartHTTP(o HTTPOptions) (*HTTP, error) {
	l, err := net.Listen("tcp", o.Listen)
	if err != nil {
		if isAddrInUse(err) {
			return nil, fmt.Errorf("metrics address %s is in use: stop who uses it, or choose another one with --metrics or [metrics] listen=", o.Listen)
		}
		return nil, fmt.Errorf("cannot serve metrics on %s: %w: choose another address with --metrics or [metrics] listen=", o.Listen, err)
	}
	l = &fewConns{Listener: l}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(o.Metrics, promhttp.HandlerOpts{ErrorLog: slog.NewLogLogger(o.Logger.Handler(), slog.LevelWarn)}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := o.Ready(); err != nil {
			say(w, http.StatusServiceUnavailable, err.Error())
			return
		}
		say(w, http.StatusOK, "ok")
	})
	if o.Pprof {
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	h := &HTTP{
		server: &http.Server{
			Handler: hurried(mux), ReadHeaderTimeout: httpHeader, ReadTimeout: httpWrite, IdleTimeout: httpIdle,
			MaxHeaderBytes: httpHeaderBytes, ErrorLog: slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug),
		},
		addr: l.Addr(), done: make(chan struct{}),
	}
	go func() {
		defer close(h.done)
		if err := h.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			o.Logger.Error("metrics are not served any more", "err", err)
		}
	}()
	return h, nil
}

// What a connection to the HTTP server may cost.
const (
	httpConns       = 64
	httpHeader      = 5 * time.Second
	httpIdle        = 60 * time.Second
	httpWrite       = 30 * time.Second
	httpProfile     = 10 * time.Minute // profiles last as long as they are asked to
	httpHeaderBytes = 16 << 10
)

// hurried gives each answer a deadline.
func hurried(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		most := httpWrite
		if strings.HasPrefix(r.URL.Path, "/debug/pprof/") {
			most = httpProfile
		}
		// An error means that the connection has gone, which the handler finds out.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(most))
		next.ServeHTTP(w, r)
	})
}

// fewConns is a listener that closes what is beyond httpConns. It does not let them wait:
// who holds all of them open does not keep the next scrape from its answer for ever.
type fewConns struct {
	net.Listener
	open atomic.Int64
}

// Accept implements net.Listener.
func (l *fewConns) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.open.Add(1) <= httpConns {
			return &fewConn{Conn: c, gone: sync.OnceFunc(func() { l.open.Add(-1) })}, nil
		}
		l.open.Add(-1)
		_ = c.Close()
	}
}

type fewConn struct {
	net.Conn
	gone func()
}

// Close implements net.Conn. It may be called more than once.
func (c *fewConn) Close() error {
	defer c.gone()
	return c.Conn.Close()
}

// Addr is where the server listens.
func (h *HTTP) Addr() net.Addr { return h.addr }

// Stop ends the server; requests that run have until ctx ends.
func (h *HTTP) Stop(ctx context.Context) error {
	err := h.server.Shutdown(ctx)
	if err != nil {
		err = errors.Join(fmt.Errorf("stop the metrics server: %w", err), h.server.Close())
	}
	<-h.done
	return err
}

func say(w http.ResponseWriter, code int, text string) {
	w.WriteHeader(code)
	_, _ = io.WriteString(w, text+"\n") // the caller has gone: nobody to tell
}
