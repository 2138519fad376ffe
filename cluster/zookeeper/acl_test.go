package zookeeper_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"metaq/cluster/registry"
	"metaq/cluster/registrytest"
	"metaq/cluster/zookeeper"
	"metaq/configs"
	zktest "metaq/test/zk"
)

// openError opens a session that must not open, and gives the reason.
func openError(t testing.TB, o zookeeper.Options, wait time.Duration) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	reg, err := registrytest.ZooKeeperOpener(t, o)(ctx)
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
	e := registrytest.ZooKeeper(t)
	open := registrytest.Session(t, registrytest.ZooKeeperOpener(t, registrytest.ZooKeeperOptions(e)))
	registrytest.Put(t, open, registrytest.Root(t), "")
	registrytest.Put(t, open, registrytest.Root(t)+"/brokers", "")
	o := registrytest.ZooKeeperOptions(e)
	o.Auth, o.Root = "metaq:secret", registrytest.Root(t)
	err := openError(t, o, registrytest.Patience)
	registrytest.WantErr(t, err, registry.ErrOpenToAll)
	says(t, err, "permissions of "+registrytest.Root(t)+":", "setAcl -R "+registrytest.Root(t)+" auth::cdrwa")

	// The root's own ACL is not enough, and then it is. The error names the next node.
	conn := raw(t, e, "metaq:secret")
	give := func(path string) {
		t.Helper()
		_, err := conn.SetACL(path, zk.DigestACL(zk.PermAll, "metaq", "secret"), -1)
		registrytest.Check(t, err)
	}
	give(registrytest.Root(t))
	says(t, openError(t, o, registrytest.Patience), "permissions of "+registrytest.Root(t)+"/brokers:")
	give(registrytest.Root(t) + "/brokers")
	registrytest.Put(t, registrytest.Session(t, registrytest.ZooKeeperOpener(t, o)), registrytest.Root(t)+"/brokers/ids", "")
}

func TestANodeOfAnotherUserIsNamedBeforeAnythingIsWritten(t *testing.T) {
	e := registrytest.ZooKeeper(t)
	o := registrytest.ZooKeeperOptions(e)
	o.Auth = "metaq:secret"
	registrytest.Put(t, registrytest.Session(t, registrytest.ZooKeeperOpener(t, o)), registrytest.Root(t), "")
	o.Auth, o.Root = "metaq:wrong", registrytest.Root(t)
	err := openError(t, o, registrytest.Patience)
	registrytest.WantErr(t, err, registry.ErrDenied)
	says(t, err, registrytest.Root(t), "set zkAuth", "setAcl")

	// Without a password nothing is looked at first; the write names the node that forbids it.
	stranger := registrytest.Session(t, registrytest.ZooKeeperOpener(t, registrytest.ZooKeeperOptions(e)))
	err = stranger.Create(registrytest.Context(t), registrytest.Root(t)+"/a", nil, registry.Persistent)
	registrytest.WantErr(t, err, registry.ErrDenied)
	says(t, err, "create "+registrytest.Root(t)+"/a in "+registrytest.Root(t), "setAcl")
}

func raw(t testing.TB, e *zktest.Ensemble, auth string) *zk.Conn {
	t.Helper()
	conn, _, err := zk.Connect([]string{e.Servers[0].Address}, 5*time.Second, zk.WithLogInfo(false), zk.WithLogger(silent{}))
	registrytest.Check(t, err)
	t.Cleanup(conn.Close)
	registrytest.Check(t, conn.AddAuth("digest", []byte(auth)))
	return conn
}

type silent struct{}

func (silent) Printf(string, ...any) {}

func TestZooKeeperOverTLS(t *testing.T) {
	ours, theirs := zktest.NewAuthority(t), zktest.NewAuthority(t)
	e := zktest.StartSecure(t, ours.Both, ours.CA)
	secure := func(a configs.ZooKeeperAccess) zookeeper.Options {
		t.Helper()
		a.TLS = true
		c, err := a.TLSConfig()
		registrytest.Check(t, err)
		return zookeeper.Options{Connect: e.Servers[0].Secure, SessionTimeout: 4 * time.Second, TLS: c}
	}
	good := configs.ZooKeeperAccess{TLSCA: ours.CA, TLSCert: ours.Cert, TLSKey: ours.Key}
	reg := registrytest.Session(t, registrytest.ZooKeeperOpener(t, secure(good)))
	registrytest.Put(t, reg, registrytest.Root(t), "secret")
	registrytest.WantData(t, reg, registrytest.Root(t), "secret")
	// With a password as well, and a name that stands in the certificate only.
	named := good
	named.TLSServerName = "zookeeper.test"
	o := secure(named)
	o.Auth = "metaq:secret"
	registrytest.Put(t, registrytest.Session(t, registrytest.ZooKeeperOpener(t, o)), registrytest.Root(t)+"-ours", "")

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
		registrytest.WantErr(t, err, registry.ErrUnavailable)
		says(t, err, append(c.says, e.Servers[0].Secure)...)
	}
	// TLS where there is none, and none where there is.
	plain, bare := secure(good), secure(good)
	plain.Connect = e.Servers[0].Address
	bare.TLS = nil
	for _, o := range []zookeeper.Options{plain, bare} {
		err := openError(t, o, 1500*time.Millisecond)
		if !errors.Is(err, registry.ErrUnavailable) {
			t.Error(err)
		}
	}
}
