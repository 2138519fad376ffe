// Package module holds the tests of the project as a Go module: that a program outside of
// it can import the client, and that one command moves it to another path.
//
// It starts no goroutine. Start at outside_test.go.
package module
