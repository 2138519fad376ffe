package main

import (
	"context"
	"errors"
	"flag"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"metaq/internal/demo"
)

var update = flag.Bool("update", false, "rewrite the expected output in testdata/script, and docs/command-line.md")

// TestScripts runs the stories in testdata/script. Beside testscript's own they
// have the commands:
//
//	broker [DIR [PORT]]  start a broker; METAQ_SERVER names it from then on
//	terminate            end it with SIGTERM, which must give exit code 0
//	crash                end it with kill -9
//	freeport NAME        set NAME to a port that nobody listens on
//	exits CODE COMMAND   run COMMAND, which must exit with CODE
//	until REGEXP COMMAND run COMMAND again and again, until its stdout matches
//	oneline              stderr of the last command is one line that begins with "metaq: "
//	repeat FILE N TEXT [N TEXT]...   write N times TEXT, which may have escapes, to FILE
//	swap FILE OLD NEW    replace OLD, which stands in FILE once, by NEW
//	send URL SUBJECT [TEXT]   a request by the plain NATS client; its answer is stdout
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		UpdateScripts:       *update,
		Setup: func(env *testscript.Env) error {
			env.Values[brokerKey{}] = new(running)
			// A command that forgets its server must not reach somebody's broker.
			env.Setenv("METAQ_SERVER", "nats://127.0.0.1:1")
			env.Setenv("GORACE", gorace)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"broker": cmdBroker, "terminate": cmdTerminate, "crash": cmdCrash, "freeport": cmdFreeport,
			"exits": cmdExits, "until": cmdUntil, "oneline": cmdOneLine, "repeat": cmdRepeat, "swap": cmdSwap, "send": cmdSend,
		},
	})
}

type brokerKey struct{}

// running is the broker of one script.
type running struct{ broker *demo.Broker }

func current(ts *testscript.TestScript) *running {
	r, ok := ts.Value(brokerKey{}).(*running)
	if !ok {
		ts.Fatalf("no place for a broker")
	}
	return r
}

func cmdBroker(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 2 {
		ts.Fatalf("usage: broker [DIR [PORT]]")
	}
	dir, port := "data", 0
	if len(args) > 0 {
		dir = args[0]
	}
	if len(args) > 1 {
		var err error
		port, err = strconv.Atoi(args[1])
		ts.Check(err)
	}
	exe, err := exec.LookPath("metaq")
	ts.Check(err)
	b, err := demo.StartBroker(context.Background(), exe, ts.MkAbs(dir), port)
	ts.Check(err)
	ts.Defer(b.Kill)
	current(ts).broker = b
	ts.Setenv("METAQ_SERVER", b.URL)
	ts.Setenv("PORT", b.URL[strings.LastIndex(b.URL, ":")+1:])
}

func cmdTerminate(ts *testscript.TestScript, _ bool, _ []string) { ts.Check(current(ts).broker.Stop()) }

func cmdCrash(ts *testscript.TestScript, _ bool, _ []string) { current(ts).broker.Kill() }

func cmdFreeport(ts *testscript.TestScript, _ bool, args []string) {
	port, err := freePort()
	ts.Check(err)
	ts.Setenv(args[0], port)
}

func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND [ARGS]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	code := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if code != want {
		ts.Fatalf("exit code %d, want %d", code, want)
	}
}

func cmdUntil(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until REGEXP COMMAND [ARGS]")
	}
	want, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := ts.Exec(args[1], args[2:]...)
		if err == nil && want.MatchString(ts.ReadFile("stdout")) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("stdout does not come to match %q; the last error is %v", args[0], err)
		}
		<-time.After(20 * time.Millisecond)
	}
}

func cmdOneLine(ts *testscript.TestScript, _ bool, _ []string) {
	text := ts.ReadFile("stderr")
	if !strings.HasPrefix(text, "metaq: ") || strings.Count(text, "\n") != 1 || !strings.HasSuffix(text, "\n") {
		ts.Fatalf("stderr is not one line that begins with \"metaq: \":\n%s", text)
	}
}

func cmdRepeat(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 3 || len(args)%2 == 0 {
		ts.Fatalf("usage: repeat FILE N TEXT [N TEXT]...")
	}
	var all strings.Builder
	for parts := args[1:]; len(parts) > 0; parts = parts[2:] {
		n, err := strconv.Atoi(parts[0])
		ts.Check(err)
		text, err := strconv.Unquote(`"` + parts[1] + `"`)
		ts.Check(err)
		all.WriteString(strings.Repeat(text, n))
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(all.String()), 0o600))
}

func cmdSwap(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: swap FILE OLD NEW")
	}
	text := ts.ReadFile(args[0])
	if strings.Count(text, args[1]) != 1 {
		ts.Fatalf("%s has %d times %q", args[0], strings.Count(text, args[1]), args[1])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Replace(text, args[1], args[2], 1)), 0o600))
}
