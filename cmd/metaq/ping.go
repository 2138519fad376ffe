package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"metaq/client"
	"metaq/internal/cli"
	"metaq/protocol"
)

func newPing() *cobra.Command {
	var (
		to     target
		wait   time.Duration
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "ping",
		Short: "ask whether a broker answers and is ready",
		Example: `  metaq ping
  metaq ping --wait 10s`,
		Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			info, err := ping(cmd.Context(), &to, wait)
			if err != nil {
				return err
			}
			if asJSON {
				err = cli.WriteJSON(cmd.OutOrStdout(), info)
			} else if info.Trouble == "" {
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "broker %d at %s is ready (version %s, registry %s)\n",
					info.BrokerID, info.NATS, info.Version, info.Registry)
			}
			if err == nil && info.Trouble != "" {
				err = fmt.Errorf("broker %d at %s is ready, but %s", info.BrokerID, info.NATS, info.Trouble)
			}
			return err
		},
	}
	targetFlags(cmd, &to)
	jsonFlag(cmd, &asJSON)
	cmd.Flags().DurationVar(&wait, "wait", 0, "how long to wait for a broker that is not ready yet")
	return cmd
}

func ping(ctx context.Context, to *target, wait time.Duration) (protocol.BrokerInfo, error) {
	var opts []client.Option
	if wait > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, wait)
		defer cancel()
		opts = append(opts, client.WithWait())
	}
	c, err := to.connect(ctx, opts...)
	if err != nil {
		return protocol.BrokerInfo{}, err
	}
	defer c.Close()
	if wait > 0 {
		return c.Admin().WaitReady(ctx)
	}
	return c.Admin().Ping(ctx)
}
