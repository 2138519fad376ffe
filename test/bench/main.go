package main

import (
	"context"
	"fmt"
	"os"

	"metaq/internal/cli"
)

func main() {
	ctx, stop := cli.OnSignals(context.Background(), func() { os.Exit(cli.ExitProblem) })
	err := dispatch(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func dispatch(ctx context.Context, args []string) error {
	if len(args) > 0 {
		switch args[0] {
		case "load":
			return loadMain(ctx, os.Stdin, os.Stdout)
		case "natsd":
			return natsdMain(ctx, args[1:])
		}
	}
	o, err := parseOptions(args)
	if err != nil {
		return err
	}
	return run(ctx, o, os.Stderr)
}
