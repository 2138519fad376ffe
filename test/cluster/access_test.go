package cluster

import (
	"context"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"metaq/configs"
	zktest "metaq/test/zk"
)

// A broker and a client that reach an ensemble by TLS, with a password, below a chroot:
// all of it from their files, as an operator would write them.
func TestAnEnsembleThatIsClosedToStrangers(t *testing.T) {
	keys, strangers := zktest.NewAuthority(t), zktest.NewAuthority(t)
	w := &world{t: t, zk: zktest.StartSecure(t, keys.Both, keys.CA), root: "/apps/meta"}
	w.makeNode("/apps", zk.WorldACL(zk.PermAll))
	w.makeNode("/held", zk.WorldACL(zk.PermAll))
	w.makeNode("/held/meta", zk.DigestACL(zk.PermAll, "somebody", "else"))
	w.makeNode("/open", zk.WorldACL(zk.PermAll))
	w.makeNode("/open/meta", zk.WorldACL(zk.PermAll))
	secret := w.file("metaq:a secret\n")
	secure := w.zk.Servers[0].Secure

	access := func(prefix string, a zktest.Authority, auth string) string {
		text := prefix + "zkTls=true\n" + prefix + "zkTlsCa=" + a.CA + "\n" +
			prefix + "zkTlsCert=" + keys.Cert + "\n" + prefix + "zkTlsKey=" + keys.Key + "\n"
		if auth != "" {
			text += prefix + auth + "\n"
		}
		return text
	}
	ini := func(connect string, a zktest.Authority, auth string) string {
		return w.file("[system]\nbrokerId=0\nnumPartitions=2\nhostName=127.0.0.1\n[nats]\nclusterPort=0\n[topic=orders]\n[zookeeper]\n" +
			"zk.zkSessionTimeoutMs=3000\nzk.zkConnect=" + connect + "\n" + access("zk.", a, auth))
	}
	w.add(w.start0(map[string]string{"file": ini(secure+"/apps", keys, "zkAuthFile="+secret)}))
	w.whole("orders", 2)
	owner := w.raw("metaq:a secret")
	defer owner.Close()
	for path := range w.treeOf(owner, "/apps/meta") {
		acl, _, err := owner.GetACL(path)
		if err != nil {
			t.Fatal(err)
		}
		if len(acl) != 1 || acl[0] != zk.DigestACL(zk.PermAll, "metaq", "a secret")[0] {
			t.Errorf("%s may be used by %+v", path, acl)
		}
	}

	// What an operator sees when something is wrong. The broker goes on trying.
	for name, c := range map[string]struct {
		connect string
		trust   zktest.Authority
		auth    string
		says    []string
	}{
		"an unknown authority": {secure + "/apps", strangers, "zkAuthFile=" + secret, []string{secure, "certificate signed by unknown authority"}},
		"a missing chroot":     {secure + "/nowhere", keys, "zkAuthFile=" + secret, []string{"chroot /nowhere", "zk.zkConnect"}},
		"another password":     {secure + "/apps", keys, "zkAuth=metaq:wrong", []string{"/apps/meta", "permission denied", "zkAuth"}},
		"no password":          {secure + "/apps", keys, "", []string{"/meta", "permission denied", "zkAuth"}},
		"nodes of another":     {secure + "/held", keys, "zkAuthFile=" + secret, []string{"/held/meta", "permission denied", "setAcl"}},
		"nodes of everybody":   {secure + "/open", keys, "zkAuthFile=" + secret, []string{"/open/meta", "everybody may write", "setAcl -R /open/meta auth::cdrwa"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{t: t, zk: w.zk}
			_, err := w.tryStart(map[string]string{"broker-id": "1"}, ini(c.connect, c.trust, c.auth), 1500*time.Millisecond)
			if err != nil {
				needs(t, "the error", err.Error(), append(c.says, "--wait")...)
				if strings.Contains(err.Error(), "secret") {
					t.Errorf("the error tells the password: %v", err)
				}
			}
		})
	}

	t.Run("client", func(t *testing.T) { w.lookWithTool(access, keys, strangers, secure, secret) })
}

// lookWithTool asks `metaq cluster` with a client's file.
func (w *world) lookWithTool(access func(string, zktest.Authority, string) string, keys, strangers zktest.Authority, secure, secret string) {
	t := w.t
	metaq := filepath.Join(t.TempDir(), "metaq")
	if runtime.GOOS == "windows" {
		metaq += ".exe"
	}
	if out, err := exec.Command("go", "build", "-o", metaq, "metaq/cmd/metaq").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	ask := func(file string) (string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		cmd := exec.CommandContext(ctx, metaq, "cluster", "-v", "--config", file)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	file := func(connect string, a zktest.Authority, auth string) string {
		return w.file("zookeeper=" + connect + "\n" + access("", a, auth))
	}
	out, err := ask(file(secure+"/apps", keys, "zkAuthFile="+secret))
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	needs(t, "metaq cluster", out, "ZooKeeper "+secure+" answered", w.brokers[0].URL)
	for name, c := range map[string]struct {
		file string
		says []string
	}{
		"an unknown authority": {file(secure+"/apps", strangers, "zkAuthFile="+secret), []string{"certificate signed by unknown authority"}},
		"a missing chroot":     {file(secure+"/nowhere", keys, "zkAuthFile="+secret), []string{"chroot /nowhere"}},
		"another password":     {file(secure+"/apps", keys, "zkAuth=metaq:wrong"), []string{"/meta", "permission denied", "zkAuth"}},
		"no such file":         {file(secure+"/apps", keys, "zkAuthFile="+secret+".gone"), []string{"zkAuthFile", "check the path"}},
	} {
		out, err := ask(c.file)
		if err == nil {
			t.Errorf("%s: it worked:\n%s", name, out)
		}
		needs(t, name, out, c.says...)
	}
	// `config check` opens the files that are named.
	bad, err := configs.LoadClient(configs.LoadOptions{Path: file(secure, keys, "zkAuthFile="+keys.CA)})
	if err != nil {
		t.Fatal(err)
	}
	if err := bad.Readable(); err == nil {
		t.Error("a certificate is taken for a password")
	} else {
		needs(t, "the error", err.Error(), "zkAuthFile", "not user:password")
	}
}

// raw is a connection with nothing but the library. The caller closes it.
func (w *world) raw(auth string) *zk.Conn {
	w.t.Helper()
	conn, _, err := zk.Connect([]string{w.zk.Servers[0].Address}, 5*time.Second, zk.WithLogInfo(false), zk.WithLogger(quiet{}))
	if err != nil {
		w.t.Fatal(err)
	}
	if auth != "" {
		if err := conn.AddAuth("digest", []byte(auth)); err != nil {
			w.t.Fatal(err)
		}
	}
	return conn
}

func (w *world) makeNode(path string, acl []zk.ACL) {
	w.t.Helper()
	conn := w.raw("")
	defer conn.Close()
	if _, err := conn.Create(path, nil, 0, acl); err != nil {
		w.t.Fatal(err)
	}
}
