package zktest

import "os"

// Windows cannot freeze a process by signal: Pause and Resume return its error.
var pause, resume = os.Interrupt, os.Interrupt
