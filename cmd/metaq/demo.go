package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"metaq/internal/cli"
	"metaq/internal/demo"
)

// openText opens a file of lines before anything else begins.
func openText(file string) (*os.File, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("%w: --file wants a file of text that can be read", err)
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = fmt.Errorf("%s is a directory: --file wants a file of text", file)
	}
	if err != nil {
		_ = f.Close() // nothing was written
		return nil, err
	}
	return f, nil
}

func newDemo() *cobra.Command {
	var (
		file   string
		kill   bool
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "send a whole book through a broker and prove that nothing was lost",
		Long: `Starts a broker of its own on a free port, publishes every line of a book, or
of --file, keyed by its first word, into a topic of several partitions, reads
all of it back, and proves that each line came back once, unchanged, and in
order within its key. With --kill the broker is killed in the middle (kill -9)
and started again. The exit code is 1 when the proof fails. Nothing is left
behind.`,
		Example: `  metaq demo
  metaq demo --file book.txt --kill`,
		Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var text io.Reader = strings.NewReader(demo.Text)
			name := demo.TextName
			if file != "" {
				f, err := openText(file)
				if err != nil {
					return err
				}
				defer func() { _ = f.Close() }() // it was only read
				text, name = f, file
			}
			report, err := runDemo(cmd, demo.Options{Name: name, Text: text, Kill: kill})
			if err != nil {
				return err
			}
			if asJSON {
				err = cli.WriteJSON(cmd.OutOrStdout(), report)
			} else {
				err = report.Write(cmd.OutOrStdout())
			}
			if err != nil {
				return err
			}
			return report.Verdict()
		},
	}
	jsonFlag(cmd, &asJSON)
	cmd.Flags().StringVar(&file, "file", "", "publish the lines of `FILE`, whatever is in it")
	cmd.Flags().BoolVar(&kill, "kill", false, "kill the broker in the middle and start it again")
	return cmd
}

// runDemo gives the demo this binary and a directory that it removes.
func runDemo(cmd *cobra.Command, o demo.Options) (report demo.Report, err error) {
	if o.Exe, err = os.Executable(); err != nil {
		return report, err
	}
	if o.Dir, err = os.MkdirTemp("", "metaq-demo-"); err != nil {
		return report, err
	}
	defer func() {
		if gone := os.RemoveAll(o.Dir); err == nil {
			err = gone
		}
	}()
	o.Progress = cli.NewProgress(cmd.ErrOrStderr())
	return demo.Run(cmd.Context(), o)
}
