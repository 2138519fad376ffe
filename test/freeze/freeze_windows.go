package freeze

import (
	"errors"
	"os"
)

var errNoSignal = errors.New("Windows cannot freeze a process by signal")

// Freeze returns an error.
func Freeze(*os.Process) error { return errNoSignal }

// Thaw returns an error.
func Thaw(*os.Process) error { return errNoSignal }
