package main

import (
	"errors"

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
	}, newGroupLs(), newGroupInfo(), newGroupReset(), newGroupRedrive(), newGroupDelete())
}

// groupArg refuses a name that no group can have before anything is connected.
func groupArg(name string) error { return cli.Usage(protocol.CheckName("group", name)) }

// adviseGroup adds to the refusal of a group that is not there how to find those
// that are.
func adviseGroup(err error) error {
	return cli.Advise(err, client.ErrNoGroup, "`metaq group ls` lists the groups")
}

// adviseForce adds to the refusal of a group that has members what puts them out.
func adviseForce(err error) error {
	if errors.Is(err, client.ErrConflict) {
		return cli.Advise(err, client.ErrConflict, "that is --force here")
	}
	return adviseGroup(err)
}
