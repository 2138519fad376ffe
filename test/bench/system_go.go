package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"metaq/client"
)

// brokerSystem is our broker in its own process.
type brokerSystem struct {
	id, says string
	unflush  int // unflushThreshold of the topic
}

func (s *brokerSystem) name() string  { return s.id }
func (s *brokerSystem) about() string { return s.says }
func (s *brokerSystem) ceiling() bool { return false }

func (s *brokerSystem) measure(ctx context.Context, r *row, at *place) (*sample, error) {
	start := func(port, metrics int) (*child, error) {
		return startChild("metaq broker", at.o.metaq, []string{"broker"}, []string{
			"METAQ_DATA_PATH=" + filepath.Join(at.dir, "data"),
			fmt.Sprintf("METAQ_NATS_PORT=%d", port),
			fmt.Sprintf("METAQ_METRICS_LISTEN=127.0.0.1:%d", metrics),
			"METAQ_METRICS_PPROF=true",
		}, filepath.Join(at.dir, "log"))
	}
	ready := func(ctx context.Context, url string) error {
		c, err := client.Connect(ctx, client.WithServers(url))
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Admin().Ping(ctx)
		return err
	}
	return measureGo(ctx, at, &loadSpec{row: *r, Driver: sysMetaq, Unflush: s.unflush}, start, ready)
}

// natsSystem is a nats-server in its own process: this program as `natsd`.
type natsSystem struct {
	id, says string
	store    bool // JetStream
	fast     bool // published in fast batches
	always   bool // sync_interval: always
}

func (s *natsSystem) name() string  { return s.id }
func (s *natsSystem) about() string { return s.says }
func (s *natsSystem) ceiling() bool { return !s.store }

func (s *natsSystem) measure(ctx context.Context, r *row, at *place) (*sample, error) {
	start := func(port, metrics int) (*child, error) {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		args := []string{"natsd", fmt.Sprintf("-port=%d", port), fmt.Sprintf("-metrics=127.0.0.1:%d", metrics), fmt.Sprintf("-sync-always=%t", s.always)}
		if s.store {
			args = append(args, "-store="+filepath.Join(at.dir, "data"))
		}
		return startChild("nats-server", self, args, nil, filepath.Join(at.dir, "log"))
	}
	ready := func(ctx context.Context, url string) error { return accepts(hostPort(url))(ctx) }
	spec := &loadSpec{row: *r, Driver: sysNATS}
	if s.store {
		spec.Driver = sysJS
	}
	if s.fast {
		spec.Client = clientFast
	}
	return measureGo(ctx, at, spec, start, ready)
}

// measureGo starts a Go server that serves NATS and /metrics, and puts it under
// load.
func measureGo(ctx context.Context, at *place, spec *loadSpec,
	start func(port, metrics int) (*child, error), ready func(ctx context.Context, url string) error,
) (*sample, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	metrics, err := freePort()
	if err != nil {
		return nil, err
	}
	server, err := start(port, metrics)
	if err != nil {
		return nil, err
	}
	defer server.stop()
	spec.URL = fmt.Sprintf("nats://127.0.0.1:%d", port)
	probe := &probe{pid: server.pid(), url: fmt.Sprintf("http://127.0.0.1:%d", metrics)}
	for _, try := range []func(context.Context) error{
		func(ctx context.Context) error { return ready(ctx, spec.URL) },
		accepts(hostPort(probe.url)),
	} {
		if err := server.waitFor(ctx, 20*time.Second, try); err != nil {
			return nil, err
		}
	}
	s, err := underLoad(ctx, at, spec, probe)
	if err != nil {
		return nil, fmt.Errorf("%w (last of the server's log: %s)", err, lastWords(server.log))
	}
	return s, nil
}

// diskSystem is the ceiling that the disk sets. It has no server.
type diskSystem struct{}

func (s *diskSystem) name() string  { return sysDisk }
func (s *diskSystem) about() string { return "plain sequential write + fdatasync, no server" }
func (s *diskSystem) ceiling() bool { return true }

func (s *diskSystem) measure(ctx context.Context, r *row, at *place) (*sample, error) {
	return underLoad(ctx, at, &loadSpec{row: *r, Driver: sysDisk, Dir: at.dir}, nil)
}

// underLoad runs the load in a process of its own and samples the server at the
// marks. probe is nil when there is no server.
func underLoad(ctx context.Context, at *place, spec *loadSpec, probe *probe) (*sample, error) {
	spec.Warmup, spec.Duration = at.o.warmup, at.o.duration
	if at.prof != "" {
		spec.Profile = at.prof + ".load.cpu.pprof"
	}
	in, err := json.Marshal(spec)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, "load")
	var complaints bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), &complaints
	dieWithParent(cmd)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	res, err := follow(ctx, bufio.NewReader(out), at, probe)
	if waited := cmd.Wait(); err == nil && waited != nil {
		err = fmt.Errorf("the load: %w: %s", waited, bytes.TrimSpace(complaints.Bytes()))
	}
	return res, err
}

// follow reads the load's events until its end.
func follow(ctx context.Context, out *bufio.Reader, at *place, probe *probe) (*sample, error) {
	var (
		s       = &sample{Allocs: -1, Garbage: -1, CPU: -1, RSS: -1}
		before  costs
		between costs
		profile = func() error { return nil }
		events  = json.NewDecoder(out)
	)
	for {
		var e event
		if err := events.Decode(&e); err != nil {
			return nil, fmt.Errorf("the load ended without a result: %w", errors.Join(err, ctx.Err()))
		}
		switch {
		case e.Error != "":
			return nil, errors.New(e.Error)
		case e.Mark != "" && probe == nil:
		case e.Mark == markBegin:
			if at.prof != "" {
				profile = probe.profile(ctx, at)
			}
			var err error
			if before, err = probe.sample(ctx); err != nil {
				return nil, err
			}
		case e.Mark == markEnd:
			after, err := probe.sample(ctx)
			if err != nil {
				return nil, err
			}
			between = after.since(before)
			if err := profile(); err != nil {
				return nil, err
			}
		case e.Result != nil:
			s.loadResult = *e.Result
			if probe != nil {
				s.charge(between)
			}
			return s, nil
		}
	}
}
