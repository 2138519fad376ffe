package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

func newRoot() *cobra.Command {
	root := noun(&cobra.Command{
		Use:   "metaq",
		Short: "a message queue with NATS as its transport",
		Long: `MetaQ is a message queue: topics of partitions, each a log on disk; an
acknowledged message is on disk. Its transport is NATS.

Data goes to stdout, notices to stderr. Exit code 0: done, 1: a problem, 2:
wrong usage. METAQ_SERVER names the broker that commands talk to (default
nats://127.0.0.1:4222).`,
		Example: `  metaq demo
  metaq produce --help`,
		SilenceErrors: true,
		SilenceUsage:  true,
	},
		newBroker(), newPing(), newTopic(), newProduce(), newConsume(), newCluster(),
		newGroup(), newLog(), newBench(), newConfig(), newDemo(), newVersion(), newCompletion(),
	)
	root.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	root.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		return unknownVerb(cmd, args[0])
	}
	root.Version = version()
	root.SetVersionTemplate(versionLine())
	root.Flags().BoolP("version", "v", false, "print the version")
	root.SetFlagErrorFunc(flagError)
	root.SetHelpCommand(newHelp())
	root.SetUsageTemplate(usageTemplate)
	root.CompletionOptions.DisableDefaultCmd = true
	return root
}

// noun makes cmd the parent of verbs: alone, or with a verb that is not known,
// it is wrong usage.
func noun(cmd *cobra.Command, verbs ...*cobra.Command) *cobra.Command {
	cmd.AddCommand(verbs...)
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return unknownVerb(cmd, args[0])
		}
		return fmt.Errorf("a verb is missing: use one of %s", strings.Join(names(cmd), ", "))
	}
	cmd.RunE = func(*cobra.Command, []string) error { return nil } // Args has refused
	return cmd
}

func unknownVerb(cmd *cobra.Command, verb string) error {
	// Of a short word a distance of two leaves nothing: foo is not log.
	cmd.SuggestionsMinimumDistance = min(2, len(verb)/2)
	if near := cmd.SuggestionsFor(verb); len(near) > 0 {
		return fmt.Errorf("unknown command %q; did you mean `%s %s`?", verb, cmd.CommandPath(), near[0])
	}
	return fmt.Errorf("unknown command %q; use one of %s", verb, strings.Join(names(cmd), ", "))
}

func names(cmd *cobra.Command) []string {
	var all []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			all = append(all, c.Name())
		}
	}
	return all
}

// args accepts exactly the arguments named.
func args(want ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, got []string) error {
		switch {
		case len(got) > len(want):
			return fmt.Errorf("unexpected argument %q", got[len(want)])
		case len(got) < len(want):
			return fmt.Errorf("%s is missing", strings.Join(want[len(got):], " and "))
		}
		return nil
	}
}

// usageTemplate is cobra's, with the example at the end, where the eye rests.
const usageTemplate = `Usage:
{{- if not .HasAvailableSubCommands}}
  {{.UseLine}}{{else}}
  {{.CommandPath}} <command>

Commands:{{range .Commands}}{{if or .IsAvailableCommand (eq .Name "help")}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{end}}
{{- if .HasAvailableLocalFlags}}

Flags:
{{.LocalFlags.FlagUsagesWrapped 80 | trimTrailingWhitespaces}}{{end}}
{{- if .HasExample}}

Example:
{{.Example}}{{end}}
`
