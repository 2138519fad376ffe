package configs

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// flat gives sections as "[name]" and "key=text@line" lines.
func flat(sections []section) []string {
	var out []string
	for _, s := range sections {
		if s.name != "" {
			out = append(out, "["+s.name+"]")
		}
		for _, e := range s.entries {
			out = append(out, e.key+"="+e.text+"@"+strings.TrimPrefix(e.at.String(), "f.ini:"))
		}
	}
	return out
}

func TestFilesAreParsed(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"empty":                      {"", nil},
		"comments at line start":     {"; a=1\n# b=2\n;; c\n  ; d=4\n", nil},
		"white space is trimmed":     {" [ s ] \n a = 1 2 \n", []string{"[s]", "a=1 2@2"}},
		"comment behind a value":     {"host=0.0.0.0            ; default\nb=1 # why\nc=2\t;x", []string{"host=0.0.0.0@1", "b=1@2", "c=2@3"}},
		"comment instead of a value": {"url=                    ; set: use it\nb=;x", []string{"url=@1", "b=@2"}},
		"comment behind a section":   {"[s] ; why\na=1", []string{"[s]", "a=1@2"}},
		"; and # inside a value":     {"a=x;y#z", []string{"a=x;y#z@1"}},
		"cron with #":                {"w=0 0 6 ? * 6#3", []string{"w=0 0 6 ? * 6#3@1"}},
		"byte order mark":            {"\ufeff[s]\na=1", []string{"[s]", "a=1@2"}},
		"Windows line ends":          {"[s]\r\na=1\r\n\r\nb=2\r\n", []string{"[s]", "a=1@2", "b=2@4"}},
		"empty sections in a row":    {"[topic=a]\n[topic=b]\n[ topic = c ]", []string{"[topic=a]", "[topic=b]", "[topic=c]"}},
		"= in a value":               {"a=b=c", []string{"a=b=c@1"}},
		": ends a key too":           {"a: b", []string{"a=b@1"}},
		"escapes":                    {`a=C:\\meta\;x \# \= \: \u00e9`, []string{"a=C:\\meta;x # = : \u00e9@1"}},
		"no line end at the end":     {"a=1", []string{"a=1@1"}},
		"a comment in GBK":           {"; \xcf\xfb\xcf\xa2\na=1", []string{"a=1@2"}},
	} {
		t.Run(name, func(t *testing.T) {
			var mistakes Mistakes
			got := flat(parse("f.ini", []byte(c.text), &mistakes))
			if diff := cmp.Diff(c.want, got); diff != "" || len(mistakes) > 0 {
				t.Errorf("%v\n%s", mistakes, diff)
			}
		})
	}
}

func TestLinesThatCannotBeParsedAreNamed(t *testing.T) {
	for text, want := range map[string]string{
		"\n[system":         `f.ini:2: "[system" is not a section; write [name] on a line of its own`,
		"[system] brokerId": `f.ini:1: "[system] brokerId" is not a section; write [name] on a line of its own`,
		"brokerId":          `f.ini:1: "brokerId" is neither key=value nor [section] nor a ; comment`,
		"=1":                `f.ini:1: "=1" is neither key=value nor [section] nor a ; comment`,
		`a=C:\meta`:         `f.ini:1: a: a backslash must stand before \ ; # = : or uXXXX; in a path write / or \\`,
		`a=C:\temp`:         `f.ini:1: a: a backslash must stand before \ ; # = : or uXXXX; in a path write / or \\`,
		`a=b\`:              `f.ini:1: a: a backslash must stand before \ ; # = : or uXXXX; in a path write / or \\`,
		`a=\u12`:            `f.ini:1: a: a backslash must stand before \ ; # = : or uXXXX; in a path write / or \\`,
	} {
		var mistakes Mistakes
		parse("f.ini", []byte(text), &mistakes)
		if mistakes.Error() != want {
			t.Errorf("%q:\n got %s\nwant %s", text, mistakes.Error(), want)
		}
	}
}

func TestTheNearestWordIsFound(t *testing.T) {
	known := []string{"brokerId", "numPartitions", "serverPort", "deleteWhen", "deletePolicy"}
	for word, want := range map[string]string{
		"brokerid": "brokerId", "broker_id": "brokerId", "numPartition": "numPartitions", "serverprot": "serverPort",
		"deletewhen": "deleteWhen", "deletPolicy": "deletePolicy", "BROKERID": "brokerId",
	} {
		if got := nearest(word, known); got != want {
			t.Errorf("%s: %s, want %s", word, got, want)
		}
	}
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"kitten", "sitting", 3}, {"flaw", "lawn", 2}, {"same", "same", 0}} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("%q to %q: %d, want %d", c.a, c.b, got, c.want)
		}
	}
}
