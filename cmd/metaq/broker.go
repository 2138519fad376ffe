package main

import (
	"io"
	"log/slog"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"metaq/configs"
	"metaq/internal/broker"
	"metaq/internal/cli"
)

// brokerFlags are the values of `metaq broker`, and the names of those that
// stand for an option of the configuration.
type brokerFlags struct {
	file      string
	logFormat string
	pprof     bool
	wait      time.Duration
	options   map[string]*string
}

func newBroker() *cobra.Command {
	f := brokerFlags{options: map[string]*string{}}
	cmd := &cobra.Command{
		Use:   "broker",
		Short: "run a broker in the foreground",
		Long: `Runs a broker until SIGTERM or SIGINT; it then finishes what it has accepted and
exits with 0. A second signal, at least one second later, forces an immediate
exit with 1. SIGHUP changes nothing: a broker outlives its terminal.

Without -f it is broker 0 with an embedded NATS server on 127.0.0.1:4222 and a
registry of its own, its data in ./metaq-data; a topic is created when it is
first used. Flags override METAQ_* variables, which override the file. Logs go
to stderr.`,
		Example: `  metaq broker
  metaq broker -f server.ini --data ./metaq-data --log-format json`,
		Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error { return runBroker(cmd, &f) },
	}
	option := func(name, value, usage string) {
		f.options[name] = cmd.Flags().String(name, "", "`"+value+"`: "+usage)
	}
	cmd.Flags().StringVarP(&f.file, "file", "f", "", "read a server.ini from `FILE`")
	option("data", "DIR", "where the data is (default ./metaq-data)")
	option("broker-id", "N", "this broker's number in its cluster, 0 to 1023 (default 0)")
	option("nats-port", "PORT", "of the embedded NATS server; 0 picks a free one (default 4222 + broker id)")
	option("zookeeper", "HOST:PORT,...", "servers of the registry (default: a registry of its own)")
	option("metrics", "HOST:PORT", "serve /metrics, /healthz and /readyz over HTTP (default: not)")
	cmd.Flags().DurationVar(&f.wait, "wait", 0, "how long to wait for ZooKeeper at the start (default for ever)")
	cmd.Flags().BoolVar(&f.pprof, "pprof", false, "serve Go's profiles at --metrics as well")
	cmd.Flags().StringVar(&f.logFormat, "log-format", "", "`FORMAT`: text, json, or console, short lines for people (default console on a terminal, else text)")
	return cmd
}

func runBroker(cmd *cobra.Command, f *brokerFlags) error {
	log, err := newLogger(cmd.ErrOrStderr(), f.logFormat)
	if err != nil {
		return err
	}
	flags := map[string]string{}
	for name, value := range f.options {
		if cmd.Flags().Changed(name) {
			flags[name] = *value
		}
	}
	if cmd.Flags().Changed("pprof") {
		flags["metrics-pprof"] = strconv.FormatBool(f.pprof)
	}
	stop := cli.OnHangup(func() { log.Info("SIGHUP ignored: there is nothing to reload; SIGTERM stops the broker") })
	defer stop()
	config, err := configs.Load(configs.LoadOptions{Path: f.file, Env: os.Environ(), Flags: flags})
	if err != nil {
		return misconfigured(err)
	}
	return broker.Run(cmd.Context(), config, broker.Options{Logger: log, Version: version(), Source: f.file, Wait: f.wait})
}

// newLogger returns a logger on w. Without a format it is one for people on a terminal,
// and one for programs elsewhere.
func newLogger(w io.Writer, format string) (*slog.Logger, error) {
	if format == "" {
		format = "text"
		if cli.IsTerminal(w) {
			format = "console"
		}
	}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, nil)), nil
	case "console":
		return slog.New(cli.NewConsole(w)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, nil)), nil
	}
	return nil, cli.Usagef("--log-format %q is not known; use text, json or console", format)
}
