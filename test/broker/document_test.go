package broker

import (
	"cmp"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"hash/fnv"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"metaq/protocol"
)

var update = flag.Bool("update", false, "write the real answers into docs/protocol.md")

const document = "../../docs/protocol.md"

func readDocument(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// check compares the document with what it should be, or writes that.
func check(t *testing.T, is, want string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(document, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if d := gocmp.Diff(want, is); d != "" {
		t.Errorf("docs/protocol.md does not say what is; `make golden` writes it (-want +document):\n%s", d)
	}
}

var consoles = regexp.MustCompile("(?ms)^```console\n(.*?)^```$")

func TestTheDocumentsExamples(t *testing.T) {
	b := start(t, options{flags: map[string]string{"auto-create-topics": "false"}})
	text := readDocument(t)
	want := consoles.ReplaceAllStringFunc(text, func(block string) string {
		out := "```console\n"
		for _, line := range strings.Split(block, "\n") {
			if command, ok := strings.CutPrefix(line, "$ "); ok {
				out += line + "\n" + b.run(command) + "\n"
			}
		}
		return out + "```"
	})
	check(t, text, want)
}

// run does what the nats tool does.
func (r *running) run(command string) string {
	r.t.Helper()
	words := split(r.t, command)
	if len(words) < 4 || words[0] != "nats" || words[1] != "req" {
		r.t.Fatalf("an example that is not `nats req SUBJECT BODY`: %s", command)
	}
	header := nats.Header{}
	for options := words[4:]; len(options) > 0; options = options[2:] {
		name, value, ok := strings.Cut(options[1], ":")
		if options[0] != "-H" || !ok {
			r.t.Fatalf("an option that is not -H NAME:VALUE: %s", command)
		}
		header.Add(name, value)
	}
	return steady(string(r.ask(words[2], header, []byte(words[3]))), r.URL())
}

// split splits a command as a shell would, as far as the examples go.
func split(t testing.TB, command string) []string {
	t.Helper()
	var words []string
	for i, part := range strings.Split(command, "'") {
		if i%2 == 1 {
			words = append(words, part)
			continue
		}
		words = append(words, strings.Fields(part)...)
	}
	return words
}

// steady replaces what differs from run to run.
func steady(answer, url string) string {
	for _, r := range []struct{ expr, with string }{
		{regexp.QuoteMeta(url), "nats://127.0.0.1:4222"},
		{`"(\w+)":"20\d\d-[^"]*Z"`, `"$1":"2026-01-02T15:04:05.678Z"`},
		{`"version":"[^"]*"`, `"version":"1.0.0"`},
	} {
		answer = regexp.MustCompile(r.expr).ReplaceAllString(answer, r.with)
	}
	return answer
}

func TestTheDocumentsHashes(t *testing.T) {
	rows := regexp.MustCompile(`(?m)^\| .* \| ([0-9a-f ]*) ?\| (\d+) \| (\d) \| (\d) \|$`).FindAllStringSubmatch(readDocument(t), -1)
	if len(rows) < 5 {
		t.Fatalf("%d test vectors", len(rows))
	}
	for _, row := range rows {
		var key []byte
		for _, h := range strings.Fields(row[1]) {
			n, err := strconv.ParseUint(h, 16, 8)
			if err != nil {
				t.Fatal(err)
			}
			key = append(key, byte(n))
		}
		other := fnv.New32a()
		_, _ = other.Write(key) // it has no errors
		got := fmt.Sprint(protocol.KeyHash(key), " ", protocol.PartitionOf(key, 4), " ", protocol.PartitionOf(key, 10))
		if want := strings.Join(row[2:], " "); got != want || other.Sum32() != protocol.KeyHash(key) {
			t.Errorf("key %q: the document says %s, the code %s", key, want, got)
		}
	}
}

// part replaces what stands between <!-- name --> and <!-- end -->.
func part(t *testing.T, text, name, content string) string {
	t.Helper()
	begin := "<!-- " + name + " -->\n"
	before, rest, ok := strings.Cut(text, begin)
	_, after, ended := strings.Cut(rest, "<!-- end -->")
	if !ok || !ended {
		t.Fatalf("docs/protocol.md has no part %s", name)
	}
	return before + begin + content + "<!-- end -->" + after
}

func TestTheDocumentsTablesAndPictures(t *testing.T) {
	text := readDocument(t)
	want := part(t, text, "errors", errorTable(t))
	for name, file := range map[string]string{"fetch": "fetch.go", "batch": "batch.go", "body": "body.go"} {
		want = part(t, want, name, picture(t, file))
	}
	check(t, text, want)
}

// errorTable lists the errors that protocol/errors.go declares.
func errorTable(t *testing.T) string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../../protocol/errors.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var all []protocol.Error
	ast.Inspect(file, func(n ast.Node) bool {
		lit, ok := n.(*ast.CompositeLit)
		if !ok || len(lit.Elts) != 3 {
			return true
		}
		var values []string
		for _, e := range lit.Elts {
			if b, ok := e.(*ast.BasicLit); ok {
				values = append(values, b.Value)
			}
		}
		if len(values) == 3 {
			code, err1 := strconv.Atoi(values[0])
			errCode, err2 := strconv.Atoi(values[1])
			text, err3 := strconv.Unquote(values[2])
			if err := cmp.Or(err1, err2, err3); err != nil {
				t.Fatal(err)
			}
			all = append(all, protocol.Error{Code: code, ErrCode: errCode, Description: text})
		}
		return true
	})
	if len(all) < 20 {
		t.Fatalf("only %d errors found", len(all))
	}
	slices.SortFunc(all, func(a, b protocol.Error) int {
		return cmp.Or(cmp.Compare(a.Code, b.Code), cmp.Compare(a.ErrCode, b.ErrCode))
	})
	out := "| code | err_code | meaning |\n| --- | --- | --- |\n"
	for _, e := range all {
		out += fmt.Sprintf("| %d | %d | %s |\n", e.Code, e.ErrCode, e.Description)
	}
	return out
}

// picture is the first comment with a picture in a file of package protocol.
func picture(t *testing.T, name string) string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../../protocol/"+name, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	for _, group := range file.Comments {
		if strings.Contains(group.Text(), "\t|") || strings.Contains(group.Text(), "\n|") {
			return "```text\n" + strings.TrimRight(strings.ReplaceAll(group.Text(), "\t", "  "), "\n") + "\n```\n"
		}
	}
	t.Fatalf("no picture in protocol/%s", name)
	return ""
}
