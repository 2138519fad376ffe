package local

import "errors"

// ErrLocked says that another process uses the data directory.
var ErrLocked = errors.New("data directory is in use")
