package arch

import "testing"

// maxFiles is how many files a package may have, tests not counted: what is private to a
// package is private to no more code than a reader holds in mind.
const maxFiles = 24

// crowded are the packages that are still larger, with the most files that each may have. The
// numbers only go down.
var crowded = map[string]int{
	"cmd/metaq":   39,
	"persistence": 28,
	"protocol":    30,
	"transport":   37,
}

func TestPackagesAreNotCrowded(t *testing.T) {
	n := map[string]int{}
	for _, s := range sources(t) {
		if !isTest(s.name) && !within(s.pkg, "test") {
			n[s.pkg]++
		}
	}
	for pkg, files := range n {
		most, listed := crowded[pkg]
		switch {
		case listed && files > most:
			t.Errorf("package %s has %d files and may have %d until it is split: put what is new into a package of its own", pkg, files, most)
		case listed && files <= maxFiles:
			t.Errorf("package %s has only %d files: take it out of the list", pkg, files)
		case !listed && files > maxFiles:
			t.Errorf("package %s has %d files, at most %d: split it", pkg, files, maxFiles)
		}
	}
	for pkg := range crowded {
		if n[pkg] == 0 {
			t.Errorf("package %s is not there any more: take it out of the list", pkg)
		}
	}
}
