package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"metaq/client"
	"metaq/internal/cli"
	"metaq/protocol"
)

func newCluster() *cobra.Command {
	var (
		to     target
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "cluster",
		Short: "list the brokers, and the partitions that do not serve",
		Long: `Lists the brokers with their addresses and uptimes and what their registry is:
local, or the ZooKeeper server that each is connected to. Below them stand the
partitions that have stopped or that no broker leads.`,
		Example: `  metaq cluster
  metaq cluster --json`,
		Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return to.withAdmin(cmd.Context(), func(a *client.Admin) error {
				info, err := a.ClusterInfo(cmd.Context())
				if err != nil {
					return err
				}
				if asJSON {
					return cli.WriteJSON(cmd.OutOrStdout(), info)
				}
				return writeCluster(cmd, info)
			})
		},
	}
	targetFlags(cmd, &to)
	jsonFlag(cmd, &asJSON)
	return cmd
}

func writeCluster(cmd *cobra.Command, info protocol.ClusterInfo) error {
	brokers := cli.Table{Head: []string{">BROKER", "ADDRESS", ">UPTIME", "READY", "REGISTRY", "VERSION"}}
	for _, b := range info.Brokers {
		ready := "no"
		if b.Ready {
			ready = "yes"
		}
		brokers.Add(b.BrokerID, b.NATS, time.Since(b.Started).Round(time.Second), ready, b.Registry, b.Version)
	}
	if err := brokers.Write(cmd.OutOrStdout()); err != nil {
		return err
	}
	if len(info.Failed)+len(info.Leaderless) == 0 {
		return nil
	}
	if _, err := fmt.Fprintln(cmd.OutOrStdout()); err != nil {
		return err
	}
	partitions := cli.Table{Head: []string{"TOPIC", "PARTITION", "STATE", "WHY"}}
	for _, p := range info.Failed {
		partitions.Add(p.Topic, p.Partition, "stopped", p.Error)
	}
	for _, p := range info.Leaderless {
		partitions.Add(p.Topic, p.Partition, "no leader", p.Error)
	}
	return partitions.Write(cmd.OutOrStdout())
}
