package vfs

import "errors"

// IsTooManyOpen reports whether err means that the process, or the system, has no
// descriptor left for another file: nothing was opened, and a later attempt may succeed.
func IsTooManyOpen(err error) bool {
	for _, many := range tooManyOpen {
		if errors.Is(err, many) {
			return true
		}
	}
	return false
}
