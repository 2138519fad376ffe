package configs

import (
	"cmp"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write docs/configuration.md")

const docsFile = "../docs/configuration.md"

// The page is written from the tree in options.go and the frame in testdata, so
// that it cannot say what the code does not do.
func TestDocumentationFollowsTheOptions(t *testing.T) {
	frame, err := os.ReadFile("testdata/configuration.md.in")
	if err != nil {
		t.Fatal(err)
	}
	comments := fieldComments(t)
	s := &Server{}
	topic := map[string]bool{}
	for _, o := range optionsOf("", &TopicOptions{}) {
		topic[o.key] = true
	}
	page := string(frame)
	for name, table := range map[string]string{
		"{{system}}":    optionTable(t, comments, optionsOf("system", &s.System), func(o option) bool { return !inert(o) && !topic[o.key] }),
		"{{topic}}":     optionTable(t, comments, optionsOf("system", &s.System), func(o option) bool { return !inert(o) && topic[o.key] }),
		"{{listen}}":    optionTable(t, comments, optionsOf("topic=", &ListenOptions{}), func(option) bool { return true }),
		"{{inert}}":     inertTable(t, comments, optionsOf("system", &s.System), topic),
		"{{zookeeper}}": optionTable(t, comments, optionsOf("zookeeper", &s.ZooKeeper), func(option) bool { return true }),
		"{{nats}}":      optionTable(t, comments, optionsOf("nats", &s.NATS), func(option) bool { return true }),
		"{{metrics}}":   optionTable(t, comments, optionsOf("metrics", &s.Metrics), func(option) bool { return true }),
		"{{client}}":    optionTable(t, comments, optionsOf("", &ClientOptions{}), func(option) bool { return true }),
	} {
		if !strings.Contains(page, name) {
			t.Errorf("testdata/configuration.md.in has no %s", name)
		}
		page = strings.Replace(page, name+"\n", table, 1)
	}
	if *update {
		if err := os.WriteFile(docsFile, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(docsFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(strings.ReplaceAll(string(got), "\r\n", "\n"), page); diff != "" {
		t.Errorf("docs/configuration.md differs from options.go; run go test ./configs -update:\n%s", diff)
	}
}

func inert(o option) bool { return o.tag.Get("inert") != "" }

func optionTable(t *testing.T, comments map[string]string, list []option, want func(option) bool) string {
	var out strings.Builder
	out.WriteString("| key | default | values | meaning |\n| --- | --- | --- | --- |\n")
	for _, o := range list {
		if want(o) {
			fmt.Fprintf(&out, "| `%s` | %s | %s | %s |\n", o.key, defaultColumn(o), valuesColumn(o), meaning(t, comments, o))
		}
	}
	return out.String()
}

func inertTable(t *testing.T, comments map[string]string, list []option, topic map[string]bool) string {
	var out strings.Builder
	out.WriteString("| key | sections | default | values | meaning in MetaQ | here |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, o := range list {
		if !inert(o) {
			continue
		}
		sections := "system"
		if topic[o.key] {
			sections = "system, topic"
		}
		fmt.Fprintf(&out, "| `%s` | %s | %s | %s | %s | %s |\n", o.key, sections, defaultColumn(o), valuesColumn(o), meaning(t, comments, o), o.tag.Get("inert"))
	}
	return out.String()
}

func meaning(t *testing.T, comments map[string]string, o option) string {
	text := comments[string(o.tag)]
	if text == "" {
		t.Errorf("%s has no comment in options.go", o.key)
	}
	return strings.ReplaceAll(text, "|", `\|`)
}

func defaultColumn(o option) string {
	text := o.tag.Get("default")
	if key, plus, found := reference(text); found {
		if text = "`" + key + "`"; plus != 0 {
			text = fmt.Sprintf("`%s` + %d", key, plus)
		}
	} else if text != "" {
		text = "`" + text + "`"
	}
	if o.tag.Get("required") == "file" {
		text = "required; without a file " + text
	}
	if other, found := o.tag.Lookup("nofile"); found {
		text += "; without a file `" + other + "`"
	}
	return cmp.Or(text, "blank")
}

func valuesColumn(o option) string {
	unit := o.tag.Get("unit")
	switch o.value.Interface().(type) {
	case bool:
		return "`true`, `false`"
	case DeletePolicy:
		return "policy"
	case Schedule:
		return "cron"
	case []string:
		return "list"
	case string:
		return "text"
	case time.Duration:
		unit = "time, a bare number is " + unit
	}
	least, most, _ := o.bounds()
	values := least.text() + " to " + most.text()
	if _, found := o.tag.Lookup("max"); !found {
		values = least.text() + " or more"
	}
	if unit != "" {
		values += "; " + unit
	}
	return values
}

// fieldComments gives the comment of every tagged field in options.go, by tag.
func fieldComments(t *testing.T) map[string]string {
	file, err := parser.ParseFile(token.NewFileSet(), "options.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	comments := map[string]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		if field, ok := n.(*ast.Field); ok && field.Tag != nil {
			tag := strings.Trim(field.Tag.Value, "`")
			if comments[tag] != "" {
				t.Errorf("two fields have the tag %s; their comments cannot be told apart", tag)
			}
			comments[tag] = strings.Join(strings.Fields(field.Doc.Text()), " ")
		}
		return true
	})
	return comments
}

var quotedParts = regexp.MustCompile(`"[^"]*"`)

// Every tag must be one that the code reads, and every default must lie within its bounds.
func TestTagsOfOptionsAreWellFormed(t *testing.T) {
	known := map[string]bool{
		"ini": true, "default": true, "nofile": true, "required": true, "min": true, "max": true,
		"unit": true, "check": true, "env": true, "flag": true, "inert": true, "secret": true,
	}
	list := append((&Server{}).options(), optionsOf("", &ClientOptions{})...)
	list = append(list, optionsOf("topic=", &ListenOptions{})...)
	byKey := map[string]option{}
	for _, o := range list {
		byKey[o.section+"\n"+o.key] = o
	}
	for _, o := range list {
		for part := range strings.FieldsSeq(quotedParts.ReplaceAllString(string(o.tag), " ")) {
			if name := strings.TrimSuffix(part, ":"); !known[name] {
				t.Errorf("%s: unknown tag %q", o.key, name)
			}
		}
		if unit := o.tag.Get("unit"); unit != "" && unit != "bytes" && units[unit] == 0 {
			t.Errorf("%s: unknown unit %q", o.key, unit)
		}
		if check := o.tag.Get("check"); check != "" && checks[check] == nil {
			t.Errorf("%s: unknown check %q", o.key, check)
		}
		_, isTime := o.value.Interface().(time.Duration)
		if _, found := units[o.tag.Get("unit")]; isTime && !found {
			t.Errorf("%s: a time needs a unit", o.key)
		}
		if _, found := o.tag.Lookup("min"); o.value.CanInt() && !found {
			t.Errorf("%s: a number needs a lower bound", o.key)
		}
		for _, name := range []string{"default", "nofile", "min", "max"} {
			text, found := o.tag.Lookup(name)
			if !found {
				continue
			}
			if key, _, found := reference(text); found {
				if byKey["system\n"+key].value.Kind() != o.value.Kind() {
					t.Errorf("%s: no option %s of its kind in [system]", o.key, key)
				}
				continue
			}
			one := option{key: o.key, tag: o.tag, value: reflect.New(o.value.Type()).Elem()}
			if err := one.set(text, time.UTC); err != nil {
				t.Errorf("%s: %s: %v", o.key, name, err)
			}
			if least, most, bounded := o.bounds(); bounded && (one.value.Int() < least.value.Int() || one.value.Int() > most.value.Int()) {
				t.Errorf("%s: %s %s is out of bounds", o.key, name, text)
			}
		}
	}
}

// Each limit that an operator can raise stands in the page for operators, with what happens
// beyond it.
func TestOperatorsFindEveryLimit(t *testing.T) {
	page, err := os.ReadFile("../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	limits := string(page[strings.Index(string(page), "### Limits\n"):])
	limits = limits[:strings.Index(limits, "### Processors")]
	s := &Server{}
	found := 0
	for section, from := range map[string]any{"system": &s.System, "nats": &s.NATS} {
		for _, o := range optionsOf(section, from) {
			if inert(o) || !strings.HasPrefix(o.key, "max") && o.key != "autoCreateLimit" && o.key != "autoCreateRate" && o.key != "diskReserve" {
				continue
			}
			found++
			if !regexp.MustCompile("`(\\[" + section + "\\] )?" + o.key + "`").MatchString(limits) {
				t.Errorf("docs/operating.md, Limits, does not name %s", o.key)
			}
		}
	}
	if found < 20 {
		t.Errorf("only %d limits were found", found)
	}
}
