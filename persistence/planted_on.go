//go:build planted

package persistence

var planted = noDefect
