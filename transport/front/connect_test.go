package front

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The front alone decides about CONNECT, so nothing in it may be read in two ways.
func TestConnectIsReadInOneWay(t *testing.T) {
	plain := connect{verbose: true, pedantic: true, echo: true}
	for name, tc := range map[string]struct {
		says string
		want connect
		why  string
	}{
		"nothing said":          {"CONNECT {}", plain, ""},
		"no blank":              {"connect{}", plain, ""},
		"all said":              {`CONNECT {"verbose":false,"pedantic":false,"echo":false,"headers":true,"no_responders":true,"protocol":1,"lang":"go","version":"1"}`, connect{headers: true, noResponders: true, protocol: 1, lang: "go", version: "1"}, ""},
		"credentials":           {`CONNECT {"user":"a","pass":"b","auth_token":"c","jwt":"d","nkey":"e","sig":"f","name":"g"}`, connect{verbose: true, pedantic: true, echo: true, credentials: true}, ""},
		"unknown field":         {`CONNECT {"other":{"verbose":[1]}}`, plain, ""},
		"null":                  {`CONNECT {"verbose":null}`, plain, ""},
		"other case":            {`CONNECT {"Verbose":false}`, connect{pedantic: true, echo: true}, ""},
		"twice":                 {`CONNECT {"verbose":false,"verbose":false}`, plain, connectFieldTwice},
		"twice in two cases":    {`CONNECT {"user":"a","USER":"b"}`, plain, connectFieldTwice},
		"unknown twice":         {`CONNECT {"x":1,"x":2}`, plain, connectFieldTwice},
		"escaped twice":         {`CONNECT {"user":"a","\u0075ser":"b"}`, plain, connectFieldTwice},
		"wrong type":            {`CONNECT {"verbose":"no"}`, plain, connectFieldType},
		"user is a number":      {`CONNECT {"user":1}`, plain, connectFieldType},
		"protocol is no number": {`CONNECT {"protocol":1.5}`, plain, connectFieldType},
		"array":                 {`CONNECT []`, plain, connectNoObject},
		"text":                  {`CONNECT nonsense`, plain, connectNoObject},
		"nothing":               {`CONNECT`, plain, connectNoObject},
		"two objects":           {`CONNECT {}{}`, plain, connectNoObject},
		"something behind":      {`CONNECT {} x`, plain, connectNoObject},
		"cut off":               {`CONNECT {"verbose":false`, plain, connectNoObject},
		"deep":                  {`CONNECT {"x":` + strings.Repeat("[", 12_000) + strings.Repeat("]", 3_000) + `}`, plain, connectNoObject},
		"account":               {`CONNECT {"account":"METAQ"}`, plain, notAuthorized},
		"new account":           {`CONNECT {"new_account":true}`, plain, notAuthorized},
		"newer protocol":        {`CONNECT {"protocol":2}`, plain, badProtocol},
		"no headers":            {`CONNECT {"no_responders":true}`, plain, needsHeaders},
		"large":                 {`CONNECT {"jwt":"` + strings.Repeat("x", 16_000) + `"}`, connect{verbose: true, pedantic: true, echo: true, credentials: true}, ""},
		"too large":             {`CONNECT {"jwt":"` + strings.Repeat("x", 17_000) + `"}`, plain, connectTooLong},
	} {
		t.Run(name, func(t *testing.T) {
			got, why := parseConnect([]byte(tc.says + "\r\n"))
			if why != tc.why {
				t.Fatalf("refused with %q, want %q", why, tc.why)
			}
			if d := cmp.Diff(tc.want, got, cmp.AllowUnexported(connect{})); why == "" && d != "" {
				t.Error(d)
			}
		})
	}
}

// The server hears neither a name nor a secret.
func TestTheServersConnectHasNoName(t *testing.T) {
	c, why := parseConnect([]byte(`CONNECT {"name":"n","user":"u","pass":"p","auth_token":"t","echo":false,"verbose":true,"pedantic":true,"lang":"` + strings.Repeat("l", 5000) + `"}` + "\r\n"))
	if why != "" {
		t.Fatal(why)
	}
	want := `CONNECT {"verbose":false,"pedantic":false,"echo":false,"headers":false,"no_responders":false,"protocol":0,"lang":"` +
		strings.Repeat("l", maxAgent) + `"}` + "\r\n"
	if d := cmp.Diff(want, string(c.line())); d != "" {
		t.Error(d)
	}
}

func FuzzConnect(f *testing.F) {
	f.Add([]byte(`CONNECT {"verbose":false,"x":[{}]}`))
	f.Add([]byte(`CONNECT {"no_responders":true,"headers":true}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < len("CONNECT") {
			return
		}
		c, why := parseConnect(b)
		if why != "" {
			return
		}
		again, why := parseConnect(c.line())
		again.verbose, again.pedantic = c.verbose, c.pedantic
		again.lang, again.version, again.credentials = c.lang, c.version, c.credentials
		if why != "" || again != c {
			t.Errorf("%q: the server hears %q: %s", b, c.line(), why)
		}
	})
}
