package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// root is the module's folder, seen from this package's.
const root = "../.."

// files returns the project's own files, as slash paths below root. What a build
// or a broker leaves behind is not among them, nor are golden files.
func files(t *testing.T) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if entry.IsDir() {
			base := entry.Name()
			hidden := strings.HasPrefix(base, ".") && rel != "." && rel != ".ci"
			made := rel == "bin" || strings.HasPrefix(rel, "metaq-data") || strings.HasPrefix(rel, "logs")
			if hidden || made || base == "testdata" {
				return filepath.SkipDir
			}
			return nil
		}
		found = append(found, rel)
		return nil
	})
	if err != nil {
		t.Fatalf("walk the checkout: %v", err)
	}
	if len(found) < 20 {
		t.Fatalf("only %d files found below %s: is this the module's folder?", len(found), root)
	}
	return found
}

// read returns the bytes of one of the project's files.
func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	if err != nil {
		t.Fatalf("read %s: %v", name, err)
	}
	return string(b)
}

// exists says whether a file, a folder or a pattern with a star is there.
func exists(name string) bool {
	hits, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(strings.TrimSuffix(name, "/"))))
	return err == nil && len(hits) > 0
}

func isGo(name string) bool   { return strings.HasSuffix(name, ".go") }
func isTest(name string) bool { return strings.HasSuffix(name, "_test.go") }

// source is one parsed Go file.
type source struct {
	name string // slash path below root
	pkg  string // its folder
	fset *token.FileSet
	ast  *ast.File
}

// sources parses all Go files, also those of other systems.
func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	for _, name := range files(t) {
		if !isGo(name) {
			continue
		}
		fset := token.NewFileSet()
		parsed, err := parser.ParseFile(fset, name, read(t, name), parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatalf("parse %s: %v", name, err)
		}
		all = append(all, source{name: name, pkg: path.Dir(name), fset: fset, ast: parsed})
	}
	return all
}
