package main

import (
	"github.com/spf13/cobra"

	"metaq/client"
	"metaq/internal/cli"
	"metaq/protocol"
)

func newGroup() *cobra.Command {
	return noun(&cobra.Command{
		Use:     "group",
		Short:   "list, describe, reset and delete consumer groups",
		Example: `  metaq group ls`,
	}, newGroupLs(), newGroupInfo(), newGroupReset(), newGroupRedrive(), newGroupRemove(), newGroupDelete())
}

// groupArg refuses a name that no group can have before anything is connected.
func groupArg(name string) error { return cli.Usage(protocol.CheckName("group", name)) }

// adviseForce adds to the refusal of a group that has members what puts them out.
func adviseForce(err error) error {
	return cli.Advise(err, client.ErrConflict, "that is --force here")
}
