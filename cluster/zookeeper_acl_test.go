package cluster_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"metaq/cluster"
	"metaq/configs"
	zktest "metaq/test/zk"
)

// openError opens a session that must not open, and gives the reason.
func openError(t testing.TB, o cluster.ZooKeeperOptions, wait time.Duration) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	reg, err := zkOpener(t, o)(ctx)
	if err == nil {
		t.Fatal("it opened", reg.Close())
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("more than one line: %q", err)
	}
	return err
}

func says(t testing.TB, err error, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
}

func TestANodeThatEverybodyMayWriteIsRefusedWithAPassword(t *testing.T) {
	e := zooKeeper(t)
	open := session(t, zkOpener(t, zkOptions(e)))
	put(t, open, root(t), "")
	put(t, open, root(t)+"/brokers", "")
	o := zkOptions(e)
	o.Auth, o.Root = "metaq:secret", root(t)
	err := openError(t, o, patience)
	wantErr(t, err, cluster.ErrOpenToAll)
	says(t, err, "permissions of "+root(t)+":", "setAcl -R "+root(t)+" auth::cdrwa")

	// The root's own ACL is not enough, and then it is. The error names the next node.
	conn := raw(t, e, "metaq:secret")
	give := func(path string) {
		t.Helper()
		_, err := conn.SetACL(path, zk.DigestACL(zk.PermAll, "metaq", "secret"), -1)
		check(t, err)
	}
	give(root(t))
	says(t, openError(t, o, patience), "permissions of "+root(t)+"/brokers:")
	give(root(t) + "/brokers")
	put(t, session(t, zkOpener(t, o)), root(t)+"/brokers/ids", "")
}

func TestANodeOfAnotherUserIsNamedBeforeAnythingIsWritten(t *testing.T) {
	e := zooKeeper(t)
	o := zkOptions(e)
	o.Auth = "metaq:secret"
	put(t, session(t, zkOpener(t, o)), root(t), "")
	o.Auth, o.Root = "metaq:wrong", root(t)
	err := openError(t, o, patience)
	wantErr(t, err, cluster.ErrDenied)
	says(t, err, root(t), "set zkAuth", "setAcl")

	// Without a password nothing is looked at first; the write names the node that forbids it.
	stranger := session(t, zkOpener(t, zkOptions(e)))
	err = stranger.Create(testContext(t), root(t)+"/a", nil, cluster.Persistent)
	wantErr(t, err, cluster.ErrDenied)
	says(t, err, "create "+root(t)+"/a in "+root(t), "setAcl")
}

func raw(t testing.TB, e *zktest.Ensemble, auth string) *zk.Conn {
	t.Helper()
	conn, _, err := zk.Connect([]string{e.Servers[0].Address}, 5*time.Second, zk.WithLogInfo(false), zk.WithLogger(silent{}))
	check(t, err)
	t.Cleanup(conn.Close)
	check(t, conn.AddAuth("digest", []byte(auth)))
	return conn
}

type silent struct{}

func (silent) Printf(string, ...any) {}

func TestZooKeeperOverTLS(t *testing.T) {
	ours, theirs := zktest.NewAuthority(t), zktest.NewAuthority(t)
	e := zktest.StartSecure(t, ours.Both, ours.CA)
	secure := func(a configs.ZooKeeperAccess) cluster.ZooKeeperOptions {
		t.Helper()
		a.TLS = true
		c, err := a.TLSConfig()
		check(t, err)
		return cluster.ZooKeeperOptions{Connect: e.Servers[0].Secure, SessionTimeout: 4 * time.Second, TLS: c}
	}
	good := configs.ZooKeeperAccess{TLSCA: ours.CA, TLSCert: ours.Cert, TLSKey: ours.Key}
	reg := session(t, zkOpener(t, secure(good)))
	put(t, reg, root(t), "secret")
	wantData(t, reg, root(t), "secret")
	// With a password as well, and a name that stands in the certificate only.
	named := good
	named.TLSServerName = "zookeeper.test"
	o := secure(named)
	o.Auth = "metaq:secret"
	put(t, session(t, zkOpener(t, o)), root(t)+"-ours", "")

	for _, c := range map[string]struct {
		access configs.ZooKeeperAccess
		says   []string
	}{
		"another authority":        {configs.ZooKeeperAccess{TLSCA: theirs.CA, TLSCert: ours.Cert, TLSKey: ours.Key}, []string{"certificate signed by unknown authority"}},
		"the machine's":            {configs.ZooKeeperAccess{TLSCert: ours.Cert, TLSKey: ours.Key}, []string{"certificate signed by unknown authority"}},
		"another name":             {configs.ZooKeeperAccess{TLSCA: ours.CA, TLSCert: ours.Cert, TLSKey: ours.Key, TLSServerName: "other.test"}, []string{"not other.test"}},
		"no certificate":           {configs.ZooKeeperAccess{TLSCA: ours.CA}, []string{"tls:", "certificate"}},
		"a stranger's certificate": {configs.ZooKeeperAccess{TLSCA: ours.CA, TLSCert: theirs.Cert, TLSKey: theirs.Key}, []string{"tls:", "certificate"}},
	} {
		err := openError(t, secure(c.access), 1500*time.Millisecond)
		wantErr(t, err, cluster.ErrUnavailable)
		says(t, err, append(c.says, e.Servers[0].Secure)...)
	}
	// TLS where there is none, and none where there is.
	plain, bare := secure(good), secure(good)
	plain.Connect = e.Servers[0].Address
	bare.TLS = nil
	for _, o := range []cluster.ZooKeeperOptions{plain, bare} {
		err := openError(t, o, 1500*time.Millisecond)
		if !errors.Is(err, cluster.ErrUnavailable) {
			t.Error(err)
		}
	}
}
