package configs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTheSampleClientFileLoads(t *testing.T) {
	c, err := LoadClient(LoadOptions{Path: "metaq.ini"})
	if err != nil {
		t.Fatal(err)
	}
	want := ClientOptions{
		ZooKeeper: []string{"127.0.0.1:2181", "127.0.0.1:2182", "127.0.0.1:2183"}, ZkRoot: "/meta", MessageDir: "./logs", Prefix: "metaq",
	}
	if diff := cmp.Diff(want, c.ClientOptions); diff != "" {
		t.Error(diff)
	}
}

func TestTheStrongerEntranceWins(t *testing.T) {
	zkFile, serverFile := write(t, "zookeeper=z:2181\n"), write(t, "server=nats://f:4222\n")
	for name, c := range map[string]struct {
		opts       LoadOptions
		server, zk string
	}{
		"nothing":                    {LoadOptions{}, DefaultServer, ""},
		"zookeeper in the file":      {LoadOptions{Path: zkFile}, "", "z:2181"},
		"server in the file":         {LoadOptions{Path: serverFile}, "nats://f:4222", ""},
		"variable beats the file":    {LoadOptions{Path: zkFile, Env: []string{"METAQ_SERVER=nats://v:1"}}, "nats://v:1", ""},
		"variable beats the file, 2": {LoadOptions{Path: serverFile, Env: []string{"METAQ_ZOOKEEPER=v"}}, "", "v:2181"},
		"flag beats the variable":    {LoadOptions{Env: []string{"METAQ_ZOOKEEPER=v"}, Flags: map[string]string{"server": "nats://g:1"}}, "nats://g:1", ""},
		"two servers":                {LoadOptions{Flags: map[string]string{"server": "nats://a:1, tls://b:2"}}, "nats://a:1,tls://b:2", ""},
		"a broker's variable":        {LoadOptions{Env: []string{"METAQ_BROKER_ID=3"}}, DefaultServer, ""},
	} {
		got, err := LoadClient(c.opts)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if s, z := strings.Join(got.Server, ","), strings.Join(got.ZooKeeper, ","); s != c.server || z != c.zk {
			t.Errorf("%s: server %q, zookeeper %q", name, s, z)
		}
	}
}

func TestMistakesOfAClientAreNamed(t *testing.T) {
	for text, want := range map[string]string{
		"zookeper=a\nserver=x/y":              "server.ini:1: unknown key zookeper; did you mean zookeeper?\nserver.ini:2: server: \"x/y\" is not a NATS address; write nats://host:port",
		"zookeeper=a\nserver=nats://x:1":      "server.ini:2: both server and zookeeper are set; remove one",
		"[system]\nbrokerId=0":                "server.ini:1: a client's file has no sections; remove [system], or use the file for a broker",
		"messagedir=./a\nmessagedir=./b":      "server.ini:2: messagedir is set twice, first on line 1; remove one",
		"zookeeper=a:x":                       `server.ini:1: zookeeper: "a:x" is not a ZooKeeper server; write host:port,host:port`,
		"zkRoot=/":                            `server.ini:1: zkRoot: "/" is not a node; write a path such as /meta`,
		"server=nats://user:secret@host:port": "server.ini:1: server: \"host:port\" is not a NATS address; write nats://host:port",
	} {
		path := write(t, text)
		_, err := LoadClient(LoadOptions{Path: path})
		if err == nil || strings.ReplaceAll(err.Error(), path, "server.ini") != want {
			t.Errorf("%q:\n got %v\nwant %s", text, err, want)
		}
	}
	if _, err := LoadClient(LoadOptions{Env: []string{"METAQ_SERVR=x"}, Flags: map[string]string{"sever": "x"}}); err == nil ||
		err.Error() != "--sever: unknown flag; did you mean --server?\nMETAQ_SERVR: unknown variable, ignored; did you mean METAQ_SERVER?" {
		t.Errorf("got %v", err)
	}
	if _, err := LoadClient(LoadOptions{Path: filepath.Join(t.TempDir(), "none.ini")}); err == nil || !strings.Contains(err.Error(), "none.ini") {
		t.Errorf("got %v", err)
	}
}

func TestClientFilesAreToldFromServerFiles(t *testing.T) {
	for path, want := range map[string]bool{"metaq.ini": true, "broker0.ini": false} {
		if got, err := IsClientFile(path); err != nil || got != want {
			t.Errorf("%s: %v, %v", path, got, err)
		}
	}
	if _, err := IsClientFile(filepath.Join(t.TempDir(), "none.ini")); err == nil {
		t.Error("a missing file is no error")
	}
}

func FuzzParseClient(f *testing.F) {
	text, err := os.ReadFile("metaq.ini")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte("server=nats://a:1,tls://[::1]:2\nzkRoot=/a/b/"))
	f.Fuzz(func(t *testing.T, text []byte) {
		l := newLoader(LoadOptions{Path: "f.ini"})
		c, err := l.client(parse("f.ini", text, &l.mistakes))
		if err == nil && (len(c.Server) > 0) == (len(c.ZooKeeper) > 0) {
			t.Fatalf("server %q and zookeeper %q", c.Server, c.ZooKeeper)
		}
	})
}
