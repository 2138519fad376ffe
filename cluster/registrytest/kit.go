package registrytest

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"metaq/cluster/local"
	"metaq/cluster/registry"
	"metaq/internal/vfs"
)

// DataDir is where OpenLocal keeps a registry.
const DataDir = "/data"

// Patience is how long a test waits for what must happen.
const Patience = 30 * time.Second

// roots are different for each run of a test: the ensemble remembers the earlier ones.
var roots sync.Map // from testing.TB to string

// OpenLocal opens the local registry of a file system, for as long as the test runs.
func OpenLocal(t testing.TB, fs vfs.FS) *local.Store {
	t.Helper()
	l, err := local.Open(local.Options{FS: fs, Dir: DataDir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return l
}

// Session opens a session, for as long as the test runs.
func Session(t testing.TB, open registry.Opener) registry.Registry {
	t.Helper()
	reg, err := open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := reg.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return reg
}

// Put creates a persistent node.
func Put(t testing.TB, reg registry.Registry, path, data string) {
	t.Helper()
	if err := reg.Create(t.Context(), path, []byte(data), registry.Persistent); err != nil {
		t.Fatal(err)
	}
}

// WantData fails the test when a node holds other data.
func WantData(t testing.TB, reg registry.Registry, path, data string) {
	t.Helper()
	n, err := reg.Get(t.Context(), path)
	if err != nil || string(n.Data) != data {
		t.Fatalf("%s = %q, %v; want %q", path, n.Data, err, data)
	}
}

// Damage overwrites one byte in the middle of a file.
func Damage(t *testing.T, fs vfs.FS, path string) {
	t.Helper()
	info, err := fs.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := fs.OpenReadWrite(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{0xff}, info.Size()/2); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// Check fails the test with an error.
func Check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// WantErr fails the test when an error is another one.
func WantErr(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error %v, want %v", err, want)
	}
}

// Context ends with the test, or when it has taken longer than Patience.
func Context(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	t.Cleanup(cancel)
	return ctx
}

// Eventually polls until done, for at most Patience.
func Eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	deadline := time.After(Patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within %v: %s", Patience, what)
		}
	}
}

// Root gives each run of a test its own part of the ensemble.
func Root(t testing.TB) string {
	mine, _ := roots.LoadOrStore(t, "/"+strings.ReplaceAll(t.Name(), "/", "-")+"-"+rand.Text()[:6])
	return mine.(string)
}

// CaughtUp lets a session see what others have written.
func CaughtUp(t testing.TB, reg registry.Registry) {
	t.Helper()
	Check(t, reg.Multi(Context(t), registry.Check("/", 0)))
}
