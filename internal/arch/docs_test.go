package arch

import (
	"go/ast"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// documents are the texts that must name only what exists. The changelog is not
// among them: it tells what was.
func documents(t *testing.T) []string {
	t.Helper()
	var docs []string
	for _, name := range files(t) {
		if path.Ext(name) == ".md" && name != "CHANGELOG.md" {
			docs = append(docs, name)
		}
	}
	return docs
}

var (
	fenced     = regexp.MustCompile("(?ms)^```.*?^```")
	quoted     = regexp.MustCompile("`([^`\n]+)`")
	link       = regexp.MustCompile(`\]\(([^)#\s]+)(?:#[^)]*)?\)`)
	pathLike   = regexp.MustCompile(`^\.?[A-Za-z0-9_*-][A-Za-z0-9_.*-]*(/[A-Za-z0-9_.*-]+)*/?$`)
	identifier = regexp.MustCompile(`^([a-z]+)\.([A-Z]\w*)(?:\.([A-Za-z]\w*))?(?:\(\))?$`)
	makeTarget = regexp.MustCompile(`^make ([a-z]+)\b`)
)

// topLevel are the first elements of a path of this project.
var topLevel = []string{
	".ci", "actors", "client", "cluster", "cmd", "configs", "deploy", "docs", "internal", "persistence", "protocol", "scripts", "test", "transport",
}

// spans returns what stands in backticks outside of code blocks.
func spans(text string) []string {
	var all []string
	for _, m := range quoted.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
		all = append(all, m[1])
	}
	return all
}

func TestDocumentsNameRealFiles(t *testing.T) {
	bases := map[string]bool{}
	for _, name := range files(t) {
		bases[path.Base(name)] = true
	}
	for _, doc := range documents(t) {
		text := read(t, doc)
		for _, span := range spans(text) {
			if !pathLike.MatchString(span) {
				continue
			}
			first, _, isPath := strings.Cut(span, "/")
			switch {
			case isPath && slices.Contains(topLevel, first):
				if !exists(span) {
					t.Errorf("%s names `%s`, which does not exist", doc, span)
				}
			case !isPath && isGo(span):
				if !bases[span] {
					t.Errorf("%s names `%s`, and no file is called so", doc, span)
				}
			}
		}
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if !strings.Contains(m[1], ":") && !exists(path.Join(path.Dir(doc), m[1])) {
				t.Errorf("%s links to %s, which does not exist", doc, m[1])
			}
		}
	}
}

// The list of documents has all of them, so that each is found.
func TestDocumentsAreListed(t *testing.T) {
	list := read(t, "docs/README.md")
	for _, doc := range documents(t) {
		name, inside := strings.CutPrefix(doc, "docs/")
		if dir, _, nested := strings.Cut(name, "/"); nested {
			name = dir + "/README.md" // which lists those beside it
		}
		if inside && name != "README.md" && !strings.Contains(list, "]("+name+")") {
			t.Errorf("docs/README.md does not list %s", doc)
		}
	}
}

func TestDocumentsNameRealIdentifiers(t *testing.T) {
	known := map[string]map[string]bool{} // package's base name -> "Name" and "Name.Member"
	for _, s := range sources(t) {
		if isTest(s.name) {
			continue
		}
		base := path.Base(s.pkg)
		if known[base] == nil {
			known[base] = map[string]bool{}
		}
		declared(s.ast, known[base])
	}
	for _, doc := range documents(t) {
		for _, span := range spans(read(t, doc)) {
			m := identifier.FindStringSubmatch(span)
			if m == nil || known[m[1]] == nil {
				continue
			}
			name := m[2]
			if m[3] != "" {
				name += "." + m[3]
			}
			if !known[m[1]][name] {
				t.Errorf("%s names `%s`, which package %s does not declare", doc, span, m[1])
			}
		}
	}
}

// declared adds the names that a file declares at top level, and the fields and
// methods of its types, to names.
func declared(file *ast.File, names map[string]bool) {
	for _, decl := range file.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			name := d.Name.Name
			if d.Recv != nil {
				name = receiver(d.Recv.List[0].Type) + "." + name
			}
			names[name] = true
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch s := spec.(type) {
				case *ast.TypeSpec:
					names[s.Name.Name] = true
					members(s, names)
				case *ast.ValueSpec:
					for _, n := range s.Names {
						names[n.Name] = true
					}
				}
			}
		}
	}
}

func members(s *ast.TypeSpec, names map[string]bool) {
	var fields *ast.FieldList
	switch t := s.Type.(type) {
	case *ast.StructType:
		fields = t.Fields
	case *ast.InterfaceType:
		fields = t.Methods
	default:
		return
	}
	for _, f := range fields.List {
		for _, n := range f.Names {
			names[s.Name.Name+"."+n.Name] = true
		}
	}
}

func receiver(expr ast.Expr) string {
	switch e := expr.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}

// publicTargets are the targets that bare make lists, in this order.
var publicTargets = []string{
	"build", "demo", "tutorial", "run", "test", "unit", "race", "interop", "fuzz", "crash", "soak", "lint", "fmt", "golden", "docs", "bench", "release", "ci",
}

func TestMakeListsItsTargets(t *testing.T) {
	var listed []string
	for _, m := range regexp.MustCompile(`(?m)^([a-z]+):.*## `).FindAllStringSubmatch(read(t, "Makefile"), -1) {
		listed = append(listed, m[1])
	}
	if !slices.Equal(listed, publicTargets) {
		t.Errorf("bare make lists %v, want %v", listed, publicTargets)
	}
}

func TestDocumentsNameRealTargets(t *testing.T) {
	rules := read(t, "Makefile")
	for _, doc := range documents(t) {
		for _, span := range spans(read(t, doc)) {
			m := makeTarget.FindStringSubmatch(span)
			if m != nil && !strings.Contains(rules, "\n"+m[1]+":") {
				t.Errorf("%s names `%s`, which the Makefile has not got", doc, span)
			}
		}
	}
}
