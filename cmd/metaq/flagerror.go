package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// flagError replaces the texts of the flag library, which quote Go's own functions, and
// suggests a flag for one that does not exist.
func flagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() == "" {
		name := unknown.GetSpecifiedName()
		if near := nearestFlag(cmd.Flags(), name); near != "" {
			return fmt.Errorf("unknown flag: --%s; did you mean --%s?", name, near)
		}
		return fmt.Errorf("unknown flag: --%s", name)
	}
	var invalid *pflag.InvalidValueError
	if !errors.As(err, &invalid) {
		return err
	}
	flag, value := invalid.GetFlag(), invalid.GetValue()
	switch flag.Value.Type() {
	case "duration":
		return fmt.Errorf("--%s %q is not a duration; write a number and a unit, such as 500ms, 10s or 2m", flag.Name, value)
	case "int", "int64":
		return fmt.Errorf("--%s %q is not a whole number in range", flag.Name, value)
	case "bool":
		return fmt.Errorf("--%s %q is not true or false", flag.Name, value)
	}
	return fmt.Errorf("--%s %q: %w", flag.Name, value, errors.Unwrap(invalid))
}

// nearestFlag returns the flag whose name is most like name, or "" when none is.
func nearestFlag(flags *pflag.FlagSet, name string) string {
	best, least := "", min(2, len(name)/2)+1
	flags.VisitAll(func(f *pflag.Flag) {
		if d := distance(f.Name, name); d < least && !f.Hidden {
			best, least = f.Name, d
		}
	})
	return best
}

// distance returns the number of characters to insert, delete or replace between a and b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
