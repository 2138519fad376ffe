// Package configs reads and checks the broker's server.ini and the client's
// metaq.ini.
//
// It owns names, defaults, bounds and where each value came from: the file, the
// environment or a flag. It never acts on a value: it opens no port, makes no
// directory and starts no goroutine.
//
// options.go is the truth. Every key is one field there with its default, its
// bounds and a comment; Load, Effective, the override names and
// docs/configuration.md are derived from it. Start at Load in server.go.
//
// All functions are safe for concurrent use; what they return is not changed
// after it is returned.
package configs
