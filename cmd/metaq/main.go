package main

import (
	"context"
	"fmt"
	"io"
	"os"
	_ "time/tzdata" // deleteWhen is in the zone TZ names, also in an image without zone files

	"github.com/spf13/cobra"

	"metaq/internal/cli"
)

func main() {
	cli.KeepClosedPipes()
	ctx, stop := cli.OnSignals(context.Background(), func() {
		fmt.Fprintln(os.Stderr, "metaq: another signal: stopping at once")
		os.Exit(cli.ExitProblem)
	})
	code := run(ctx, os.Args[1:], os.Stdin, cli.Output{W: os.Stdout}, os.Stderr)
	stop()
	os.Exit(code)
}

// run carries out one command line and returns its exit code.
func run(ctx context.Context, args []string, in io.Reader, out, remarks io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(remarks)
	// Whatever cobra refuses before a verb runs is wrong usage: flags, arguments
	// and verbs that are not known.
	running := false
	everyRun(root, func() { running = true })
	cmd, err := root.ExecuteContextC(ctx)
	if err != nil && !running {
		err = cli.Usagef("%w; see `%s --help`", err, cmd.CommandPath())
	}
	return cli.Report(remarks, interrupted(ctx, err))
}

// everyRun makes every verb below cmd call before when it begins to run.
func everyRun(cmd *cobra.Command, before func()) {
	if work := cmd.RunE; work != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			before()
			return work(cmd, args)
		}
	}
	for _, c := range cmd.Commands() {
		everyRun(c, before)
	}
}
