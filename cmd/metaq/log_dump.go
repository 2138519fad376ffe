package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"metaq/internal/cli"
	"metaq/internal/vfs"
	"metaq/persistence"
	"metaq/protocol"
)

func newLogDump() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "dump FILE",
		Short: "print the batches and messages of a segment file",
		Long: `Prints each batch of a segment and the messages in it, up to the first bytes
that are none; the exit code is 1 when those are damage or a torn tail. With
--json it prints an object for each message, as metaq consume does.`,
		Example: `  metaq log dump metaq-data/orders-0-3/00000000000000000000.log`,
		Args:    args("the path of a segment FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			out := bufio.NewWriter(cmd.OutOrStdout())
			err := persistence.Dump(vfs.Default, args[0], func(at int64, h protocol.BatchHeader, records []protocol.Record) error {
				if asJSON {
					return dumpJSON(out, records)
				}
				return dumpText(out, at, &h, records)
			})
			return errors.Join(out.Flush(), err)
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

func dumpJSON(out io.Writer, records []protocol.Record) error {
	for i := range records {
		if err := cli.WriteJSONLine(out, protocol.NewMessage(&records[i])); err != nil {
			return err
		}
	}
	return nil
}

func dumpText(out io.Writer, at int64, h *protocol.BatchHeader, records []protocol.Record) error {
	if _, err := fmt.Fprintf(out, "batch at %d: %d messages from offset %d, epoch %d, compression %s, %d bytes, MetaQ position %d\n",
		at, h.Count, h.Base, h.Epoch, h.Compression, h.Length, h.Position); err != nil {
		return err
	}
	for i := range records {
		r := &records[i]
		line := fmt.Sprintf("  %d  %s", r.Offset, time.UnixMilli(r.Time).UTC().Format("2006-01-02T15:04:05.000Z"))
		if r.Key != nil {
			line += fmt.Sprintf("  key %q", clip(r.Key))
		}
		for _, h := range r.Headers {
			line += fmt.Sprintf("  %s=%q", h.Name, h.Value)
		}
		if _, err := fmt.Fprintf(out, "%s  %q\n", line, clip(r.Value)); err != nil {
			return err
		}
	}
	return nil
}

// clip keeps a dumped line readable when the payload is long.
func clip(b []byte) string {
	const limit = 60
	if len(b) <= limit {
		return string(b)
	}
	return fmt.Sprintf("%s... (%d bytes)", protocol.CutText(string(b), limit), len(b))
}
