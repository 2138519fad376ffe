//go:build !planted

package persistence

const planted = noDefect
