package demo

import (
	_ "embed" // the text is part of the binary
)

// TextName names Text.
const TextName = "Newton, Opticks (1730)"

// Text is the book that the demo publishes when no file is named; README.md
// says where it comes from.
//
//go:embed opticks.txt
var Text string
