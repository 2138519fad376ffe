package configs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// write puts text into a file server.ini and gives its path.
func write(tb testing.TB, text string) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "server.ini")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

// load wants a configuration without mistakes.
func load(tb testing.TB, opts LoadOptions) *Server {
	tb.Helper()
	opts.Zone = time.UTC
	s, err := Load(opts)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// mistakesOf gives the lines of Load's error without the directory of the file.
func mistakesOf(tb testing.TB, opts LoadOptions) []string {
	tb.Helper()
	_, err := Load(opts)
	if err == nil {
		return nil
	}
	var mistakes Mistakes
	if !errors.As(err, &mistakes) {
		tb.Fatalf("not Mistakes: %v", err)
	}
	text := err.Error()
	if opts.Path != "" {
		text = strings.ReplaceAll(text, opts.Path, filepath.Base(opts.Path))
	}
	return strings.Split(text, "\n")
}

func TestWithoutAFileABrokerRunsAlone(t *testing.T) {
	s := load(t, LoadOptions{})
	if s.System.BrokerID != 0 || s.NATS.Host != "127.0.0.1" || s.NATS.Port != 4222 || s.NATS.ClusterPort != 6222 || len(s.NATS.URL) != 0 {
		t.Errorf("system %+v, nats %+v", s.System, s.NATS)
	}
	if s.UseZooKeeper() || !s.System.AutoCreateTopics || s.System.NumPartitions != 4 || s.System.DataPath != "./metaq-data" || len(s.Topics) != 0 {
		t.Errorf("system %+v, zookeeper %+v, topics %v", s.System, s.ZooKeeper, s.Topics)
	}
	if s.Metrics.Listen != "" || s.System.UnflushThreshold != 0 {
		t.Errorf("metrics %+v, unflushThreshold %d", s.Metrics, s.System.UnflushThreshold)
	}
	if notices := s.Notices(); len(notices) != 0 {
		t.Errorf("notices for nothing: %q", notices)
	}
	if err := s.Validate(); err != nil {
		t.Error(err)
	}
}

// The two files of the reference cluster must work as they stand.
func TestTheSampleFilesLoad(t *testing.T) {
	for id, serverPort := range map[int]int{0: 8123, 1: 9124} {
		file := fmt.Sprintf("broker%d.ini", id)
		dataPath := []string{"./metaq-data", "./metaq-data-1"}[id] // both may start in one directory
		s := load(t, LoadOptions{Path: file})
		want := &Server{
			System: System{
				BrokerID: id, AutoCreateLimit: 1000, AutoCreateRate: 100, MaxTopicSubjects: 64, MaxSubjects: 4096, MaxOutboundBytes: 256 << 20, MaxTransferSize: 1 << 20, UpdateConsumerOffsets: true, MaxGroupState: 1 << 20, MaxGroups: 10_000, MaxProducers: 10_000, MaxPartitions: 10_000, MaxBrokerMessageIDs: 2_000_000,
				DiskReserve: 16 << 20, MaxInflightBytes: 256 << 20, MaxInflightMessages: 100000,
				MaxPartitionInflightBytes: 64 << 20, MaxPartitionInflightMessages: 20000,
				TopicOptions: TopicOptions{
					NumPartitions: 5, DataPath: dataPath, UnflushInterval: 10 * time.Second, MaxSegmentSize: 1 << 30,
					MaxSegmentAge: 24 * time.Hour, MaxMessageSize: 1 << 20, DeletePolicy: DeletePolicy{Action: ActionDelete, Age: 168 * time.Hour},
					DeleteWhen: Schedule{text: "0 0 6,18 * * ?"}, AcceptPublish: true, AcceptSubscribe: true,
					DuplicateWindow: 2 * time.Minute, MaxMessageIDs: 1_000_000, Stat: true,
				},
				ServerPort: serverPort, DashboardHTTPPort: 8120, DataLogPath: dataPath, MaxCheckpoints: 3,
				CheckpointInterval: time.Hour, MaxTxTimeoutTimerCapacity: 30000, MaxTxTimeout: time.Minute, FlushTxLogAtCommit: 1,
				GetProcessThreadCount: 10, PutProcessThreadCount: 10, QuartzThreadCount: 5,
			},
			ZooKeeper: ZooKeeper{
				Enable: true, Connect: []string{"127.0.0.1:2181", "127.0.0.1:2182", "127.0.0.1:2183"}, Root: "/meta",
				SessionTimeout: 30 * time.Second, ConnectionTimeout: 30 * time.Second, SyncTime: 5 * time.Second, LeaseTime: 5 * time.Second,
			},
			NATS: NATS{Host: "0.0.0.0", Port: 4222 + id, ClusterPort: 6222 + id, Prefix: "metaq", MaxPayload: 8 << 20, MaxConnections: 65536, MaxSubscriptions: 10_000},
		}
		for _, name := range []string{"test", "meta-test", "email"} {
			want.Topics = append(want.Topics, Topic{Name: name, TopicOptions: want.System.TopicOptions})
		}
		if diff := cmp.Diff(want, s, cmp.FilterPath(func(p cmp.Path) bool {
			return p.String() == "origins" || p.String() == "notices"
		}, cmp.Ignore())); diff != "" {
			t.Errorf("%s:\n%s", file, diff)
		}
		if !s.UseZooKeeper() {
			t.Errorf("%s: ZooKeeper is not used", file)
		}
		if diff := cmp.Diff([]string{
			file + ":4: serverPort has no effect yet: MetaQ's own TCP protocol is not served",
			file + ":11: flushTxLogAtCommit has no effect yet: there are no transactions",
			file + ":12: stat has no effect: statistics are always on, see [metrics] listen",
			file + ":20: zk.zkConnectionTimeoutMs has no effect: a connection is given up by the session timeout, and the start goes on trying",
		}, s.Notices()); diff != "" {
			t.Errorf("%s: notices:\n%s", file, diff)
		}
	}
}

func TestTheContainersFileNeedsOnlyTheirEnvironment(t *testing.T) {
	compose, err := os.ReadFile("../deploy/docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	for id := range 2 {
		name := fmt.Sprintf("broker%d", id)
		if want := fmt.Sprintf("environment: {METAQ_BROKER_ID: \"%d\", METAQ_HOST_NAME: %s}", id, name); !strings.Contains(string(compose), want) {
			t.Errorf("docker-compose.yml does not hold %s", want)
		}
		s := load(t, LoadOptions{
			Path: "../deploy/server.ini",
			Env:  []string{fmt.Sprintf("METAQ_BROKER_ID=%d", id), "METAQ_HOST_NAME=" + name},
		})
		if !s.UseZooKeeper() || s.System.BrokerID != id || s.NATS.Port != 4222 || s.NATS.ClusterPort != 6222 || s.System.DataPath != "/data" {
			t.Errorf("%s: %+v", name, s)
		}
		if notices := s.Notices(); len(notices) != 0 {
			t.Errorf("%s: %q", name, notices)
		}
	}
}

func TestATopicInheritsWhatItDoesNotSet(t *testing.T) {
	s := load(t, LoadOptions{
		Path: write(t, `
[topic=orders]
numPartitions=8
deletePolicy=archive,24,true
stat=
group.audit=com.example.Filter
[topic=plain]
[system]
brokerId=3
numPartitions=2
deletePolicy=delete,48
maxMessageSize=64KiB
`),
		Env: []string{"METAQ_MAX_SEGMENT_SIZE=16MiB"},
	})
	if len(s.Topics) != 2 || s.Topics[0].Name != "orders" || s.Topics[1].Name != "plain" {
		t.Fatalf("topics %+v", s.Topics)
	}
	orders, plain, other := s.Topic("orders"), s.Topic("plain"), s.Topic("made-later")
	if orders.NumPartitions != 8 || orders.DeletePolicy != (DeletePolicy{ActionArchive, 24 * time.Hour, true}) || orders.MaxMessageSize != 64<<10 ||
		orders.MaxSegmentSize != 16<<20 || orders.Filters["audit"] != "com.example.Filter" {
		t.Errorf("orders %+v", orders)
	}
	for _, topic := range []Topic{plain, other} {
		if diff := cmp.Diff(s.System.TopicOptions, topic.TopicOptions); diff != "" {
			t.Errorf("%s differs from [system]:\n%s", topic.Name, diff)
		}
	}
	if other.Name != "made-later" {
		t.Errorf("name %q", other.Name)
	}
}

func TestOtherKeysFollowHostAndBroker(t *testing.T) {
	s := load(t, LoadOptions{Path: write(t, "[system]\nbrokerId=7\nnumPartitions=1\nhostName=mq7.example\ndataPath=/var/mq\n")})
	if s.NATS.Host != "mq7.example" || s.NATS.Port != 4229 || s.NATS.ClusterPort != 6229 || s.System.DataLogPath != "/var/mq" {
		t.Errorf("nats %+v, dataLogPath %s", s.NATS, s.System.DataLogPath)
	}
	s = load(t, LoadOptions{
		Path:  write(t, "[system]\nbrokerId=7\nnumPartitions=1\nhostName=mq7.example\n[nats]\nhost=10.0.0.7\nport=0\n"),
		Flags: map[string]string{"broker-id": "9", "data": "/d"},
	})
	if s.NATS.Host != "10.0.0.7" || s.NATS.Port != 0 || s.NATS.ClusterPort != 6231 || s.System.DataLogPath != "/d" {
		t.Errorf("nats %+v, dataLogPath %s", s.NATS, s.System.DataLogPath)
	}
}

func TestZooKeeperIsUsedOnlyWhenTold(t *testing.T) {
	const system = "[system]\nbrokerId=0\nnumPartitions=1\n"
	for name, c := range map[string]struct {
		opts LoadOptions
		want bool
	}{
		"no section":        {LoadOptions{Path: write(t, system)}, false},
		"section":           {LoadOptions{Path: write(t, system+"[zookeeper]\nzk.zkConnect=a,b:2182\n")}, true},
		"disabled":          {LoadOptions{Path: write(t, system+"[zookeeper]\nzk.zkEnable=false\nzk.zkConnect=a:2181\n")}, false},
		"disabled, blank":   {LoadOptions{Path: write(t, system+"[zookeeper]\nzk.zkEnable=false\n")}, false},
		"flag, no file":     {LoadOptions{Flags: map[string]string{"zookeeper": "a:2181"}}, true},
		"variable, no file": {LoadOptions{Env: []string{"METAQ_ZOOKEEPER=a:2181"}}, true},
		"variable fills in": {LoadOptions{Path: write(t, system+"[zookeeper]\n"), Env: []string{"METAQ_ZOOKEEPER=a:2181"}}, true},
	} {
		if got := load(t, c.opts).UseZooKeeper(); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestNoticesNameWhatHasNoEffect(t *testing.T) {
	path := write(t, `[system]
brokerId=0
numPartitions=1
serverPort=
dashboardHttpPort=8120
appClassPath=./provided
[slave]
anything=goes
[zookeeper]
zk.zkEnable=false
zk.zkConnect=a:2181
[nats]
url=nats://n1:4222
port=4222
[topic=t]
stat=true
filterClassNames=x
group.g=com.example.F
`)
	s := load(t, LoadOptions{Path: path, Env: []string{"METAQ_CHECKPOINT_INTERVAL=1000"}, Flags: map[string]string{"zookeeper": "b:2181"}})
	want := []string{
		path + ":5: dashboardHttpPort has no effect yet: there is no dashboard",
		path + ":6: appClassPath has no effect yet: there are no filters in the broker",
		path + ":7: section [slave] has no effect, as in MetaQ",
		path + ":14: port has no effect: [nats] url is set, so there is no embedded server",
		path + ":16: stat has no effect: statistics are always on, see [metrics] listen",
		path + ":17: filterClassNames has no effect, as in MetaQ",
		path + ":18: group.g has no effect yet: there are no filters in the broker",
		"METAQ_CHECKPOINT_INTERVAL: checkpointInterval has no effect yet: there are no transactions",
		"--zookeeper: zk.zkConnect has no effect: zk.zkEnable=false",
	}
	if diff := cmp.Diff(want, s.Notices()); diff != "" {
		t.Error(diff)
	}
}

func TestAFileThatCannotBeReadIsNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none.ini")
	if _, err := Load(LoadOptions{Path: path}); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
}

func FuzzParseServer(f *testing.F) {
	for _, file := range []string{"broker0.ini", "broker1.ini", "metaq.ini"} {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("[system]\nbrokerId=((1)\nmaxSegmentSize=1GiB*\\u0041\n[topic=*]\n[topic=a]\ngroup.x=y\ndeleteWhen=0 0 6,99 * * ?"))
	f.Fuzz(func(t *testing.T, text []byte) {
		l := newLoader(LoadOptions{Path: "f.ini", Zone: time.UTC})
		s, err := l.server(parse("f.ini", text, &l.mistakes))
		if err != nil {
			for _, m := range l.mistakes {
				if m.Text == "" || strings.ContainsAny(m.String(), "\n\r") || len(m.String()) > 1000 {
					t.Fatalf("not one clear line: %q", m.String())
				}
			}
			return
		}
		// What was accepted is valid, and reads back as it is shown.
		if err := s.Validate(); err != nil {
			t.Fatal(err)
		}
		again := newLoader(LoadOptions{Path: "f.ini", Zone: time.UTC})
		s2, err := again.server(parse("f.ini", []byte(asFile(s.Effective())), &again.mistakes))
		if err != nil {
			t.Fatalf("%v in\n%s", err, asFile(s.Effective()))
		}
		if a, b := asFile(s.Effective()), asFile(s2.Effective()); a != b {
			t.Fatal(cmp.Diff(a, b))
		}
	})
}

// asFile writes what is not a default as a server.ini.
func asFile(values []Value) string {
	var out strings.Builder
	section := ""
	escape := strings.NewReplacer(`\`, `\\`, ";", `\;`, "#", `\#`)
	for _, v := range values {
		if v.Section != section && (v.Source != FromDefault || strings.HasPrefix(v.Section, topicPrefix)) {
			section = v.Section
			fmt.Fprintf(&out, "[%s]\n", section)
		}
		if v.Source != FromDefault {
			fmt.Fprintf(&out, "%s=%s\n", v.Key, escape.Replace(v.Value))
		}
	}
	return out.String()
}
