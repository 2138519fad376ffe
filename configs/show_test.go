package configs

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The table of the sample file, with one of each source, is in testdata/show.golden.
func TestEffectiveValuesAreShownWithTheirSource(t *testing.T) {
	s := load(t, LoadOptions{Path: "broker0.ini", Env: []string{"METAQ_DATA_PATH=/var/metaq"}, Flags: map[string]string{"nats-port": "4300"}})
	s.Topics = s.Topics[:1]
	var out strings.Builder
	if err := WriteTable(&out, s.Effective()); err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/show.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(out.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.ReplaceAll(string(want), "\r\n", "\n"), out.String()); diff != "" {
		t.Error(diff)
	}
	for line := range strings.Lines(out.String()) {
		if len(line) > 81 && !strings.Contains(line, "zk.zkConnect") && !strings.Contains(line, ", in ") {
			t.Errorf("wider than a terminal: %s", line)
		}
	}
}

func TestAScheduleShowsItsZone(t *testing.T) {
	shanghai, err := time.LoadLocation("Asia/Shanghai")
	if err != nil {
		t.Fatal(err)
	}
	s, err := Load(LoadOptions{Zone: shanghai})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range s.Effective() {
		if want := map[string]string{"deleteWhen": "Asia/Shanghai +08:00"}[v.Key]; v.Zone != want {
			t.Errorf("%s is in the zone %q, want %q", v.Key, v.Zone, want)
		}
	}
}

func TestJSONOfAValueHasStableNames(t *testing.T) {
	s := load(t, LoadOptions{Path: "broker0.ini"})
	for _, v := range s.Effective() {
		if v.Key != "serverPort" {
			continue
		}
		got, err := json.Marshal(v)
		const want = `{"section":"system","key":"serverPort","value":"8123","source":"file","origin":"broker0.ini:4",` +
			`"note":"has no effect yet: MetaQ's own TCP protocol is not served"}`
		if err != nil || string(got) != want {
			t.Errorf("%s, %v", got, err)
		}
	}
}

func TestATopicShowsWhereItsValueCameFrom(t *testing.T) {
	path := write(t, good+"maxSegmentSize=1MiB\n[topic=t]\nstat=true\ngroup.g=com.example.F\n")
	got := map[string]Value{}
	for _, v := range load(t, LoadOptions{Path: path}).Effective() {
		if v.Section == "topic=t" {
			got[v.Key] = v
		}
	}
	for key, want := range map[string]string{
		"stat": path + ":6", "maxSegmentSize": path + ":4", "numPartitions": path + ":3", "dataPath": "default", "group.g": path + ":7",
	} {
		if got[key].Origin != want {
			t.Errorf("%s: %+v, want %s", key, got[key], want)
		}
	}
}

func TestPasswordsAreNotShown(t *testing.T) {
	s := load(t, LoadOptions{Flags: map[string]string{"nats-url": "nats://me:secret@a:4222,nats://token@b:4222"}})
	c, err := LoadClient(LoadOptions{Flags: map[string]string{"server": "nats://me:secret@a:4222"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range append(s.Effective(), c.Effective()...) {
		if strings.Contains(v.Value, "secret") || strings.Contains(v.Value, "token") {
			t.Errorf("shown: %+v", v)
		}
	}
	if s.NATS.URL[0] != "nats://me:secret@a:4222" {
		t.Errorf("the value itself changed: %q", s.NATS.URL)
	}
}

type failingWriter struct{}

var errFull = errors.New("full")

func (failingWriter) Write([]byte) (int, error) { return 0, errFull }

func TestATableThatCannotBeWrittenIsAnError(t *testing.T) {
	if err := WriteTable(failingWriter{}, load(t, LoadOptions{}).Effective()); !errors.Is(err, errFull) {
		t.Errorf("got %v", err)
	}
}
