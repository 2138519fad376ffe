package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"metaq/internal/cli"
	"metaq/internal/vfs"
	"metaq/persistence"
	"metaq/protocol"
)

// logReport is what `log check --json` prints.
type logReport struct {
	Dir      string       `json:"dir"`
	Segments []logSegment `json:"segments"`
	Torn     bool         `json:"torn"`
	Damage   []string     `json:"damage"`
}

type logSegment struct {
	Segment string          `json:"segment"`
	First   protocol.Offset `json:"first"`
	Last    protocol.Offset `json:"last"`
	Bytes   int64           `json:"bytes"`
	State   string          `json:"state"`
}

func newLogCheck() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check DIR",
		Short: "read every byte of a partition's log and say what state it is in",
		Long: `Reads the log in DIR, the directory of one partition, and changes nothing. A
torn tail is what a crash may leave: the next start of the broker cuts it, and
nothing that was acknowledged is in it. Damage is anything else that is wrong;
then the exit code is 1.`,
		Example: `  metaq log check metaq-data/orders-0-3`,
		Args:    args("the DIR of a partition"),
		RunE: func(cmd *cobra.Command, args []string) error {
			report, err := persistence.Inspect(vfs.Default, args[0])
			if err != nil {
				return err
			}
			if asJSON {
				err = cli.WriteJSON(cmd.OutOrStdout(), jsonReport(args[0], report))
			} else {
				err = segmentTable(report).Write(cmd.OutOrStdout())
			}
			if err != nil {
				return err
			}
			for _, d := range report.Damage {
				cli.Report(cmd.ErrOrStderr(), d)
			}
			if len(report.Damage) > 0 {
				return fmt.Errorf("%s is damaged: keep a copy of it, and see docs/operating.md for what to do", args[0])
			}
			return nil
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

func segmentTable(report persistence.Report) *cli.Table {
	table := &cli.Table{Head: []string{"SEGMENT", ">FIRST", ">LAST", ">BYTES", "STATE"}}
	for _, s := range report.Segments {
		table.Add(s.Name, s.First, s.Last, s.Bytes, s.State)
	}
	return table
}

func jsonReport(dir string, report persistence.Report) logReport {
	out := logReport{Dir: dir, Segments: []logSegment{}, Torn: report.Torn, Damage: []string{}}
	for _, s := range report.Segments {
		out.Segments = append(out.Segments, logSegment{s.Name, s.First, s.Last, s.Bytes, s.State})
	}
	for _, d := range report.Damage {
		out.Damage = append(out.Damage, d.Error())
	}
	return out
}
