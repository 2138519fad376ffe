package main

import (
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"metaq/configs"
)

// jsonFlag adds --json to a command that prints data.
func jsonFlag(cmd *cobra.Command, asJSON *bool) {
	cmd.Flags().BoolVar(asJSON, "json", false, "print JSON for programs; field names stay as they are")
}

// numberFlag is a flag whose number is written as in server.ini.
type numberFlag struct {
	n     int64
	kind  string
	parse func(string) (int64, error)
}

// sizeFlag adds a flag for a number of bytes.
func sizeFlag(flags *pflag.FlagSet, name, usage string) *int64 {
	v := &numberFlag{kind: "size", parse: configs.ParseSize}
	flags.Var(v, name, usage)
	return &v.n
}

// millisFlag adds a flag for a time in milliseconds.
func millisFlag(flags *pflag.FlagSet, name, usage string) *int64 {
	v := &numberFlag{kind: "time", parse: configs.ParseMillis}
	flags.Var(v, name, usage)
	return &v.n
}

func (v *numberFlag) Type() string   { return v.kind }
func (v *numberFlag) String() string { return strconv.FormatInt(v.n, 10) }
func (v *numberFlag) Set(text string) (err error) {
	v.n, err = v.parse(text)
	return err
}
