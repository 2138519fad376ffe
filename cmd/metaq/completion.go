package main

import (
	"strings"

	"github.com/spf13/cobra"

	"metaq/internal/cli"
)

func newCompletion() *cobra.Command {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	return &cobra.Command{
		Use:   "completion bash|zsh|fish|powershell",
		Short: "print a script that teaches a shell to complete metaq's commands",
		Example: `  metaq completion bash > metaq.bash
  metaq completion zsh > _metaq`,
		ValidArgs: shells,
		Args:      args("the name of a shell: bash, zsh, fish or powershell"),
		RunE: func(cmd *cobra.Command, args []string) error {
			root, out := cmd.Root(), cmd.OutOrStdout()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(out, true)
			case "zsh":
				return root.GenZshCompletion(out)
			case "fish":
				return root.GenFishCompletion(out, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(out)
			}
			return cli.Usagef("shell %q is not known; use one of %s", args[0], strings.Join(shells, ", "))
		},
	}
}
