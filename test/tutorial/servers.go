package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	zktest "metaq/test/zk"
)

// ensemble is the three ZooKeeper servers, however they run.
type ensemble interface {
	killFirst() error
	close() error // ends all, and leaves nothing
}

// startServers starts them and waits until all serve.
func (t *tutorial) startServers(ctx context.Context) error {
	switch t.servers {
	case "java":
		e, err := zktest.NewAt(filepath.Join(t.dir, "zk"), 2181, 2182, 2183)
		if err != nil {
			return err
		}
		t.zk = processes{e}
		return e.WaitQuorum(ctx)
	case "docker":
		c := &containers{network: fmt.Sprintf("metaq-tutorial-%d", os.Getpid())}
		t.zk = c
		return c.start(ctx)
	}
	return fmt.Errorf("-zookeeper %s is not known; use java or docker", t.servers)
}

// processes are servers on this machine.
type processes struct{ *zktest.Ensemble }

func (p processes) killFirst() error { return p.Servers[0].Kill() }
func (p processes) close() error     { return p.Close() }

// containers are servers of the official image, in a network of their own, with their
// clients' ports on the loopback.
type containers struct {
	network string
	names   []string
}

func (c *containers) start(ctx context.Context) error {
	if err := docker(ctx, "network", "create", c.network); err != nil {
		return err
	}
	var servers []string
	for i := range 3 {
		servers = append(servers, fmt.Sprintf("server.%d=%s-%d:2888:3888;2181", i+1, c.network, i+1))
	}
	for i := range 3 {
		name := fmt.Sprintf("%s-%d", c.network, i+1)
		c.names = append(c.names, name)
		if err := docker(ctx, "run", "--detach", "--name", name, "--network", c.network,
			"--publish", fmt.Sprintf("127.0.0.1:%d:2181", 2181+i),
			"--env", fmt.Sprintf("ZOO_MY_ID=%d", i+1), "--env", "ZOO_SERVERS="+strings.Join(servers, " "), "zookeeper:3.9"); err != nil {
			return err
		}
	}
	for address := range strings.SplitSeq(zookeepers, ",") {
		server := zktest.Server{Address: address}
		for {
			mode, err := server.Mode(ctx)
			if err == nil && mode != "" {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("%s does not serve: %w (%w); see `docker logs %s`", address, ctx.Err(), err, c.names[0])
			case <-time.After(200 * time.Millisecond):
			}
		}
	}
	return nil
}

func (c *containers) killFirst() error { return docker(context.Background(), "kill", c.names[0]) }

func (c *containers) close() error {
	var errs []error
	if len(c.names) > 0 {
		errs = append(errs, docker(context.Background(), append([]string{"rm", "--force", "--volumes"}, c.names...)...))
	}
	errs = append(errs, docker(context.Background(), "network", "rm", c.network))
	return errors.Join(errs...)
}

// docker runs one command of the client, bounded in time.
func docker(ctx context.Context, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "docker", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("docker %s: %w: %s", args[0], err, strings.TrimSpace(string(out)))
	}
	return nil
}
