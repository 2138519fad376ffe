package arch

import (
	"go/ast"
	"path"
	"strings"
	"testing"
)

const maxLines = 800

func TestEveryPackageHasItsContract(t *testing.T) {
	type pkg struct {
		name  string   // as in the package clause
		files []string // without tests
		doc   map[string]string
	}
	packages := map[string]*pkg{}
	for _, s := range sources(t) {
		if isTest(s.name) {
			continue
		}
		p := packages[s.pkg]
		if p == nil {
			p = &pkg{name: s.ast.Name.Name, doc: map[string]string{}}
			packages[s.pkg] = p
		}
		p.files = append(p.files, s.name)
		if s.ast.Doc != nil {
			p.doc[s.name] = s.ast.Doc.Text()
		}
	}
	for dir, p := range packages {
		home := p.files[0]
		if len(p.files) > 1 {
			home = dir + "/doc.go"
		}
		want := "Package " + p.name + " "
		if p.name == "main" {
			want = "Command " + path.Base(dir) + " "
		}
		if !strings.HasPrefix(p.doc[home], want) {
			t.Errorf("%s: the package comment belongs here and starts with %q", home, want)
		}
		if len(p.doc) > 1 {
			t.Errorf("package %s has %d package comments: keep the one in %s", dir, len(p.doc), home)
		}
	}
}

func TestNoFileIsTooLong(t *testing.T) {
	for _, name := range files(t) {
		if !isGo(name) || isTest(name) {
			continue
		}
		if n := strings.Count(read(t, name), "\n"); n > maxLines {
			t.Errorf("%s has %d lines, at most %d: split it by noun", name, n, maxLines)
		}
	}
}

// A test that lacks something fails. It may step aside only for -short, on a
// system that has not got what is tested, and, outside CI, for want of a
// language's toolchain.
func TestNoTestPassesBySkipping(t *testing.T) {
	for _, s := range sources(t) {
		if !isTest(s.name) {
			continue
		}
		excused := map[*ast.CallExpr]bool{}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			if branch, ok := n.(*ast.IfStmt); ok && (mentions(branch.Cond, "testing", "Short") || mentions(branch.Cond, "runtime", "GOOS") || mentions(branch.Cond, "os", "Getenv")) {
				ast.Inspect(branch.Body, func(n ast.Node) bool {
					if call, ok := n.(*ast.CallExpr); ok {
						excused[call] = true
					}
					return true
				})
			}
			call, ok := n.(*ast.CallExpr)
			if !ok || excused[call] {
				return true
			}
			if f, ok := call.Fun.(*ast.SelectorExpr); ok {
				switch f.Sel.Name {
				case "Skip", "Skipf", "SkipNow":
					t.Errorf("%s: a test must not skip but for testing.Short(), runtime.GOOS or, outside CI, os.Getenv(\"CI\")", s.fset.Position(call.Pos()))
				}
			}
			return true
		})
	}
}

// mentions says whether expr contains pkg.name.
func mentions(expr ast.Expr, pkg, name string) bool {
	found := false
	ast.Inspect(expr, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok && sel.Sel.Name == name {
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == pkg {
				found = true
			}
		}
		return !found
	})
	return found
}
