package configs

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFlagsBeatVariablesAndVariablesBeatTheFile(t *testing.T) {
	const file = "[system]\nbrokerId=1\nnumPartitions=2\n[nats]\nport=1000\n"
	env := []string{"METAQ_NATS_PORT=2000"}
	flags := map[string]string{"nats-port": "3000"}
	path := write(t, file)
	for name, c := range map[string]struct {
		opts   LoadOptions
		want   int
		source string
		origin string
	}{
		"default":        {LoadOptions{}, 4222, FromDefault, "default"},
		"file":           {LoadOptions{Path: path}, 1000, FromFile, path + ":5"},
		"variable":       {LoadOptions{Path: path, Env: env}, 2000, FromEnv, "METAQ_NATS_PORT"},
		"flag":           {LoadOptions{Path: path, Env: env, Flags: flags}, 3000, FromFlag, "--nats-port"},
		"blank variable": {LoadOptions{Path: path, Env: []string{"METAQ_NATS_PORT="}}, 1000, FromFile, path + ":5"},
		"blank flag":     {LoadOptions{Env: env, Flags: map[string]string{"nats-port": " "}}, 2000, FromEnv, "METAQ_NATS_PORT"},
	} {
		s := load(t, c.opts)
		if s.NATS.Port != c.want {
			t.Errorf("%s: port %d, want %d", name, s.NATS.Port, c.want)
		}
		for _, v := range s.Effective() {
			if v.Section == "nats" && v.Key == "port" && (v.Source != c.source || v.Origin != c.origin) {
				t.Errorf("%s: %+v", name, v)
			}
		}
	}
}

func TestOverridesStandInForRequiredKeys(t *testing.T) {
	s := load(t, LoadOptions{
		Path:  write(t, "[system]\n"),
		Env:   []string{"METAQ_NUM_PARTITIONS=3"},
		Flags: map[string]string{"broker-id": "2"},
	})
	if s.System.BrokerID != 2 || s.System.NumPartitions != 3 {
		t.Errorf("%+v", s.System)
	}
}

func TestNamesOfOverridesFollowTheKeys(t *testing.T) {
	got := map[string]string{}
	for _, o := range (&Server{}).options() {
		got[o.section+" "+o.key] = o.env() + " --" + o.flag()
	}
	for key, want := range map[string]string{
		"system brokerId":                  "METAQ_BROKER_ID --broker-id",
		"system dataPath":                  "METAQ_DATA_PATH --data",
		"system dashboardHttpPort":         "METAQ_DASHBOARD_HTTP_PORT --dashboard-http-port",
		"system maxTxTimeoutInSeconds":     "METAQ_MAX_TX_TIMEOUT_IN_SECONDS --max-tx-timeout-in-seconds",
		"zookeeper zk.zkConnect":           "METAQ_ZOOKEEPER --zookeeper",
		"zookeeper zk.zkSyncTimeMs":        "METAQ_ZK_SYNC_TIME_MS --zk-sync-time-ms",
		"zookeeper zk.zkRoot":              "METAQ_ZK_ROOT --zk-root",
		"nats port":                        "METAQ_NATS_PORT --nats-port",
		"nats clusterPort":                 "METAQ_NATS_CLUSTER_PORT --nats-cluster-port",
		"metrics listen":                   "METAQ_METRICS_LISTEN --metrics",
		"metrics pprof":                    "METAQ_METRICS_PPROF --metrics-pprof",
		"system maxPartitionInflightBytes": "METAQ_MAX_PARTITION_INFLIGHT_BYTES --max-partition-inflight-bytes",
	} {
		if got[key] != want {
			t.Errorf("%s: %q, want %q", key, got[key], want)
		}
	}
	variables, flags := map[string]string{}, map[string]string{}
	for _, o := range (&Server{}).options() {
		if other := variables[o.env()]; other != "" {
			t.Errorf("%s and %s are both %s", other, o.key, o.env())
		}
		if other := flags[o.flag()]; other != "" {
			t.Errorf("%s and %s are both --%s", other, o.key, o.flag())
		}
		variables[o.env()], flags[o.flag()] = o.key, o.key
	}
}

func TestVariablesOfOthersStopNothing(t *testing.T) {
	env := []string{
		"HOME=/root", "METAQ=x", "METAQ_SERVER=nats://x:1", "METAQ_CONFIG=metaq.ini", "METAQ_MESSAGE_DIR=./logs",
		"METAQ_HOME=/opt/metaq", "METAQ_BLANK=", "METAQ_SPACES=  ", "METAQ_NATS_HOST=", "METAQ_NAT_PORT=1",
	}
	// What Kubernetes adds for services called metaq, metaq-web and, with the names of keys, metaq-nats and others.
	for _, service := range []string{"METAQ", "METAQ_WEB", "METAQ_0", "METAQ_NATS", "METAQ_SERVER", "METAQ_ZK", "METAQ_ZOOKEEPER", "METAQ_METRICS"} {
		env = append(env,
			service+"_SERVICE_HOST=10.0.0.1", service+"_SERVICE_PORT=4222", service+"_SERVICE_PORT_CLIENT=4222", service+"_PORT=tcp://10.0.0.1:4222",
			service+"_PORT_4222_TCP=tcp://10.0.0.1:4222", service+"_PORT_4222_TCP_PROTO=tcp", service+"_PORT_4222_TCP_PORT=4222", service+"_PORT_4222_TCP_ADDR=10.0.0.1")
	}
	s := load(t, LoadOptions{Env: env})
	want := []string{
		"METAQ_HOME: unknown variable, ignored",
		"METAQ_NAT_PORT: unknown variable, ignored; did you mean METAQ_NATS_PORT?",
	}
	if diff := cmp.Diff(want, s.Notices()); diff != "" {
		t.Error(diff)
	}
	if s.NATS.Port != load(t, LoadOptions{}).NATS.Port {
		t.Errorf("a service link is the port %d", s.NATS.Port)
	}
	env = slices.DeleteFunc(env, func(v string) bool { return strings.HasPrefix(v, "METAQ_CONFIG") })
	c, err := LoadClient(LoadOptions{Env: env})
	if err != nil || len(c.Notices()) != 2 || !slices.Equal(c.Server, []string{"nats://x:1"}) {
		t.Errorf("a client: %v, %q", err, c.Notices())
	}
}

func TestATimeZoneThatIsNotKnownIsRefused(t *testing.T) {
	for tz, want := range map[string][]string{
		"": nil, "UTC": nil, "Asia/Shanghai": nil, ":Europe/Berlin": nil,
		"Asia/Shangai": {`TZ: time zone "Asia/Shangai" is not known, and deleteWhen is in it; write a name such as Asia/Shanghai or UTC`},
		"CST-8":        {`TZ: time zone "CST-8" is not known, and deleteWhen is in it; write a name such as Asia/Shanghai or UTC`},
	} {
		opts := LoadOptions{Env: []string{"TZ=" + tz}}
		if want == nil {
			load(t, opts)
		} else if diff := cmp.Diff(want, mistakesOf(t, opts)); diff != "" {
			t.Error(diff)
		}
	}
}
