// Package arch holds tests about the project itself: which package may import
// which, what every package and file owes its reader, and that the documents
// name only what exists. It has no code of its own and looks at nothing but the
// files of the checkout, so it says the same on every system and at every commit.
//
// Start at imports_test.go.
package arch
