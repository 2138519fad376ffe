package configs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestZooKeeperServersMayEndInAChroot(t *testing.T) {
	for text, want := range map[string]string{
		"a:2181,b/apps":       "a:2181,b:2181/apps",
		"a, b:2182/apps/mq/ ": "a:2181,b:2182/apps/mq",
		"a/":                  "a:2181",
	} {
		s := load(t, LoadOptions{Path: write(t, "[system]\nbrokerId=0\nnumPartitions=1\n[zookeeper]\nzk.zkConnect="+text)})
		if got := strings.Join(s.ZooKeeper.Connect, ","); got != want {
			t.Errorf("%q is read as %q, not %q", text, got, want)
		}
		c, err := LoadClient(LoadOptions{Flags: map[string]string{"zookeeper": text}})
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(c.ZooKeeper, ","); got != want {
			t.Errorf("a client reads %q as %q, not %q", text, got, want)
		}
	}
}

func TestAPasswordIsNeverShown(t *testing.T) {
	file := write(t, "[system]\nbrokerId=0\nnumPartitions=1\n[zookeeper]\nzk.zkConnect=a\nzk.zkAuth=metaq:hunter2\n")
	s := load(t, LoadOptions{Path: file})
	if auth, err := s.ZooKeeper.Credentials(); auth != "metaq:hunter2" || err != nil {
		t.Errorf("read as %q, %v", auth, err)
	}
	for _, v := range s.Effective() {
		if strings.Contains(v.Value, "hunter2") || v.Key == "zk.zkAuth" && v.Value != "xxxxx:xxxxx" {
			t.Errorf("shown: %+v", v)
		}
	}
	_, err := LoadClient(LoadOptions{Env: []string{"METAQ_ZK_AUTH='hunter2", "METAQ_ZOOKEEPER=a"}})
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the mistake says %v", err)
	}
}

func TestFilesOfZooKeeperAccess(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := ZooKeeperAccess{AuthFile: file("secret", " metaq:a b:c \r\nmore\n")}
	if auth, err := good.Credentials(); auth != "metaq:a b:c" || err != nil {
		t.Errorf("read as %q, %v", auth, err)
	}
	if c, err := good.TLSConfig(); c != nil || err != nil {
		t.Errorf("TLS without zkTls: %v, %v", c, err)
	}
	gone, junk := filepath.Join(dir, "gone"), file("junk", "hunter2\n")
	for _, c := range []struct {
		want string
		a    ZooKeeperAccess
	}{
		{"zkAuthFile: the first line of " + junk + " is not user:password", ZooKeeperAccess{AuthFile: junk}},
		{"zkAuthFile: open " + gone, ZooKeeperAccess{AuthFile: gone}},
		{"zkTlsCa: open " + gone, ZooKeeperAccess{TLS: true, TLSCA: gone}},
		{"zkTlsCa: " + junk + " holds no certificate in PEM", ZooKeeperAccess{TLS: true, TLSCA: junk}},
		{"zkTlsCert: open " + gone, ZooKeeperAccess{TLS: true, TLSCert: gone, TLSKey: junk}},
		{"zkTlsKey: open " + gone, ZooKeeperAccess{TLS: true, TLSCert: junk, TLSKey: gone}},
		{"zkTlsCert " + junk + " with zkTlsKey " + junk + ": tls: failed", ZooKeeperAccess{TLS: true, TLSCert: junk, TLSKey: junk}},
	} {
		want := c.want
		err := c.a.Readable()
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}
