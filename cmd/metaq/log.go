package main

import "github.com/spf13/cobra"

func newLog() *cobra.Command {
	return noun(&cobra.Command{
		Use:     "log",
		Short:   "inspect a partition's files, offline and without changing them",
		Example: `  metaq log check metaq-data/orders-0-3`,
	}, newLogCheck(), newLogDump())
}
