package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"metaq/client"
	"metaq/internal/cli"
	"metaq/protocol"
)

func newGroupInfo() *cobra.Command {
	var (
		to     target
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "info GROUP",
		Short: "describe a group: its members, and how far it is in each partition",
		Long: `Lists the members, and for each partition the offset that is committed, the
offset that comes next in the log, the messages between them, and the member
that owns it. A partition on its way shows who gets it after that. A number that
is not known is "-".`,
		Example: `  metaq group info billing
  metaq group info billing --json`,
		Args: args("the name of a GROUP"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := groupArg(args[0]); err != nil {
				return err
			}
			return to.withAdmin(cmd.Context(), func(a *client.Admin) error {
				info, err := a.GroupInfo(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				if asJSON {
					return cli.WriteJSON(cmd.OutOrStdout(), info)
				}
				for i := range info.Partitions {
					if p := &info.Partitions[i]; p.Error != "" {
						cmd.PrintErrf("metaq: partition %s of topic %s: %s\n", p.Partition, p.Topic, p.Error)
					}
				}
				return writeGroup(cmd.OutOrStdout(), &info)
			})
		},
	}
	targetFlags(cmd, &to)
	jsonFlag(cmd, &asJSON)
	return cmd
}

func writeGroup(w io.Writer, g *protocol.GroupInfo) error {
	_, err := fmt.Fprintf(w, "group %s: %s, generation %d, strategy %s, coordinated by broker %d, lag %d\n",
		g.Group, g.State, g.Generation, g.Strategy, g.Coordinator, g.Lag)
	if err != nil {
		return err
	}
	members := cli.Table{Head: []string{"MEMBER", "INSTANCE", ">PARTITIONS", ">SILENT", "CLIENT", "TOPICS"}}
	for i := range g.Members {
		m := &g.Members[i]
		silent := (time.Duration(m.SilentMs) * time.Millisecond).Round(100 * time.Millisecond)
		members.Add(m.Member, orDash(m.Instance), m.Partitions, silent, orDash(m.Client), strings.Join(m.Topics, ","))
	}
	partitions := cli.Table{Head: []string{"TOPIC", "PARTITION", ">COMMITTED", ">END OFFSET", ">LAG", "OWNER"}}
	for i := range g.Partitions {
		p := &g.Partitions[i]
		owner := orDash(p.Owner)
		if p.Target != "" && p.Target != p.Owner {
			owner += " then " + p.Target
		}
		partitions.Add(p.Topic, p.Partition, known(p.Committed), known(p.EndOffset), known(p.Lag), owner)
	}
	for _, table := range []cli.Table{members, partitions} {
		if len(table.Rows) == 0 {
			continue
		}
		if _, err := fmt.Fprintln(w); err != nil {
			return err
		}
		if err := table.Write(w); err != nil {
			return err
		}
	}
	for i := range g.Partitions {
		if err := writeDiverged(w, g.Group, &g.Partitions[i]); err != nil {
			return err
		}
	}
	return nil
}

// writeDiverged says that the committed offset of a partition was not in its log.
func writeDiverged(w io.Writer, group string, p *protocol.GroupPartition) error {
	d := p.Diverged
	if d == nil {
		return nil
	}
	then := "went back there"
	if d.Stopped {
		then = fmt.Sprintf("stands still: metaq group reset %s --topic %s --partition %s --to %d", group, p.Topic, p.Partition, d.DivergedAt)
	}
	_, err := fmt.Fprintf(w, "\ndiverged: the log of %s %s lost its end; the group was at %d, the logs part at %d, and it %s (%s)\n",
		p.Topic, p.Partition, d.Offset, d.DivergedAt, then, d.Time.Format(time.RFC3339))
	return err
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// known writes a number that may be absent.
func known[N any](n *N) string {
	if n == nil {
		return "-"
	}
	return fmt.Sprint(*n)
}
