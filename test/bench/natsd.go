package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// natsdMain runs a nats-server until ctx ends. Its library is the one that the
// broker embeds, so both sides have the same version, compiler and runtime.
func natsdMain(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("natsd", flag.ContinueOnError)
	port := f.Int("port", 0, "port for clients")
	store := f.String("store", "", "directory of JetStream's files; blank: no JetStream")
	always := f.Bool("sync-always", false, "sync_interval: always")
	metrics := f.String("metrics", "", "host:port of /metrics and /debug/pprof/")
	if err := f.Parse(args); err != nil {
		return err
	}
	s, err := server.NewServer(&server.Options{
		ServerName: "natsd", Host: "127.0.0.1", Port: *port, NoSigs: true,
		MaxPayload: 8 << 20, // as the broker's
		JetStream:  *store != "", StoreDir: *store, SyncAlways: *always,
	})
	if err != nil {
		return err
	}
	s.ConfigureLogger()
	web := &http.Server{Addr: *metrics, Handler: diagnostics(), ReadHeaderTimeout: 10 * time.Second}
	l, err := net.Listen("tcp", *metrics)
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() { failed <- web.Serve(l) }()
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		return fmt.Errorf("nats-server is not ready on port %d", *port)
	}
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	s.Shutdown()
	s.WaitForShutdown()
	return errors.Join(err, web.Close())
}

func diagnostics() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.Handler())
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	return mux
}
