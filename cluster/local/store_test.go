package local_test

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"metaq/cluster/local"
	"metaq/cluster/registry"
	"metaq/cluster/registrytest"
	"metaq/internal/vfs"
	"metaq/internal/vfs/faultfs"
)

func TestLocalContract(t *testing.T) {
	registrytest.Suite(t, func(t testing.TB) registry.Opener { return registrytest.OpenLocal(t, faultfs.New(0)).Open })
}

func TestLocalContractOnDisk(t *testing.T) {
	registrytest.Suite(t, func(t testing.TB) registry.Opener {
		l, err := local.Open(local.Options{Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		return l.Open
	})
}

func TestLocalKeepsPersistentNodesOnly(t *testing.T) {
	fs := faultfs.New(0)
	l := registrytest.OpenLocal(t, fs)
	reg := registrytest.Session(t, l.Open)
	registrytest.Put(t, reg, "/a", "one")
	if _, err := reg.Set(t.Context(), "/a", []byte("two"), 0); err != nil {
		t.Fatal(err)
	}
	if err := reg.Create(t.Context(), "/e", nil, registry.Ephemeral); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	reg = registrytest.Session(t, registrytest.OpenLocal(t, fs).Open)
	n, err := reg.Get(t.Context(), "/a")
	if err != nil || string(n.Data) != "two" || n.Version != 1 {
		t.Fatalf("after reopening: %+v, %v", n, err)
	}
	if _, err := reg.Get(t.Context(), "/e"); !errors.Is(err, registry.ErrNotFound) {
		t.Fatalf("ephemeral node after reopening: %v", err)
	}
}

func TestLocalSecondProcessIsRefusedByName(t *testing.T) {
	dir := t.TempDir()
	l, err := local.Open(local.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	_, err = local.Open(local.Options{Dir: dir})
	if !errors.Is(err, local.ErrLocked) || !strings.Contains(err.Error(), dir) {
		t.Fatalf("second open: %v, want ErrLocked naming %s", err, dir)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l, err = local.Open(local.Options{Dir: dir})
	if err != nil {
		t.Fatalf("open after close: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestLocalCloseEndsSessions(t *testing.T) {
	l := registrytest.OpenLocal(t, faultfs.New(0))
	reg := registrytest.Session(t, l.Open)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	<-reg.Done()
	if err := reg.Create(t.Context(), "/a", nil, registry.Persistent); !errors.Is(err, registry.ErrClosed) {
		t.Fatalf("create after close: %v", err)
	}
	if _, err := l.Open(t.Context()); !errors.Is(err, registry.ErrClosed) {
		t.Fatalf("open after close: %v", err)
	}
}

// threeWrites leaves /a, /b and /c, one published after the other.
func threeWrites(t *testing.T, fs vfs.FS) {
	t.Helper()
	l := registrytest.OpenLocal(t, fs)
	reg := registrytest.Session(t, l.Open)
	for _, p := range []string{"/a", "/b", "/c"} {
		registrytest.Put(t, reg, p, "x")
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestLocalDamagedFileIsSetAsideAndThePreviousRead(t *testing.T) {
	fs := faultfs.New(0)
	threeWrites(t, fs)
	registrytest.Damage(t, fs, registrytest.DataDir+"/registry")
	l := registrytest.OpenLocal(t, fs)
	rec := l.Recovery()
	if !rec.Previous || len(rec.SetAside) != 1 {
		t.Fatalf("recovery: %+v", rec)
	}
	if _, err := fs.Stat(registrytest.DataDir + "/" + rec.SetAside[0]); err != nil {
		t.Fatalf("damaged file is gone: %v", err)
	}
	reg := registrytest.Session(t, l.Open)
	registrytest.WantData(t, reg, "/b", "x")
	if _, err := reg.Get(t.Context(), "/c"); !errors.Is(err, registry.ErrNotFound) {
		t.Fatalf("/c: %v", err)
	}
	registrytest.Put(t, reg, "/c", "again")
}

func TestLocalAllGenerationsDamagedIsReportedUntilTheCallerStartsEmpty(t *testing.T) {
	fs := faultfs.New(0)
	threeWrites(t, fs)
	registrytest.Damage(t, fs, registrytest.DataDir+"/registry")
	registrytest.Damage(t, fs, registrytest.DataDir+"/registry.prev")
	for range 2 {
		_, err := local.Open(local.Options{FS: fs, Dir: registrytest.DataDir})
		var damaged *vfs.DamagedError
		if !errors.Is(err, vfs.ErrDamaged) || !errors.As(err, &damaged) || len(damaged.Files) != 2 {
			t.Fatalf("open: %v, want two damaged files", err)
		}
		for _, name := range damaged.Files {
			if _, err := fs.Stat(registrytest.DataDir + "/" + name); err != nil {
				t.Fatalf("damaged file is gone: %v", err)
			}
		}
	}
	l, err := local.Open(local.Options{FS: fs, Dir: registrytest.DataDir, StartEmpty: true})
	if err != nil {
		t.Fatal(err)
	}
	registrytest.Put(t, registrytest.Session(t, l.Open), "/a", "rebuilt")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	registrytest.WantData(t, registrytest.Session(t, registrytest.OpenLocal(t, fs).Open), "/a", "rebuilt")
}

func TestLocalDiskFullIsNotTheEnd(t *testing.T) {
	fs := faultfs.New(0)
	l := registrytest.OpenLocal(t, fs)
	reg := registrytest.Session(t, l.Open)
	registrytest.Put(t, reg, "/a", "one")
	fs.SetHook(failing(faultfs.OpWrite))
	if err := reg.Create(t.Context(), "/b", nil, registry.Persistent); !errors.Is(err, registry.ErrUnavailable) {
		t.Fatalf("write on a full disk: %v", err)
	}
	registrytest.WantData(t, reg, "/a", "one")
	if _, err := reg.Get(t.Context(), "/b"); !errors.Is(err, registry.ErrNotFound) {
		t.Fatalf("a write that was refused is readable: %v", err)
	}
	fs.SetHook(nil)
	registrytest.Put(t, reg, "/b", "two")
}

var errInjected = errors.New("injected")

// failing fails every operation of one kind.
func failing(kind faultfs.Kind) func(faultfs.Op) *faultfs.Fault {
	return func(op faultfs.Op) *faultfs.Fault {
		if op.Kind == kind {
			return &faultfs.Fault{Err: errInjected}
		}
		return nil
	}
}

// TestLocalCrashAtEveryStep stops the machine at each file operation in turn, either
// after that one failed or with everything failing from there on. What was acknowledged
// is there afterwards, and nothing that was never asked for.
func TestLocalCrashAtEveryStep(t *testing.T) {
	for _, once := range []bool{true, false} {
		step := int64(0)
		for crashAt(t, step, once) {
			step++
		}
		if step < 20 {
			t.Fatalf("only %d steps", step)
		}
	}
}

// crashAt reports whether the run had that many steps.
func crashAt(t *testing.T, step int64, once bool) bool {
	const writes = 5
	fs := faultfs.New(uint64(step))
	var steps atomic.Int64
	fs.SetHook(func(faultfs.Op) *faultfs.Fault {
		if n := steps.Add(1) - 1; n == step || n > step && !once {
			return &faultfs.Fault{Err: errInjected}
		}
		return nil
	})
	acked := writeUntilFault(t, fs, writes)
	crashed := fs.Crash(50)
	l, err := local.Open(local.Options{FS: crashed, Dir: registrytest.DataDir})
	if err != nil {
		t.Fatalf("step %d: reopen: %v", step, err)
	}
	defer func() { _ = l.Close() }()
	reg, err := l.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got, err := reg.Children(t.Context(), "/")
	if err != nil || len(got) < acked || len(got) > min(acked+1, writes) {
		t.Errorf("step %d: %d acknowledged, found %q, %v", step, acked, got, err)
	}
	for i, name := range got {
		if name != fmt.Sprintf("n%d", i) {
			t.Errorf("step %d: found %q", step, got)
		}
	}
	return steps.Load() > step
}

// writeUntilFault returns how many of the writes were acknowledged before the first error.
func writeUntilFault(t *testing.T, fs vfs.FS, writes int) int {
	l, err := local.Open(local.Options{FS: fs, Dir: registrytest.DataDir})
	if err != nil {
		return 0
	}
	defer func() { _ = l.Close() }()
	reg, err := l.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range writes {
		if err := reg.Create(t.Context(), fmt.Sprintf("/n%d", i), nil, registry.Persistent); err != nil {
			return i
		}
	}
	return writes
}

func TestLocalFailedPublishIsFinal(t *testing.T) {
	fs := faultfs.New(0)
	l := registrytest.OpenLocal(t, fs)
	reg := registrytest.Session(t, l.Open)
	fs.SetHook(failing(faultfs.OpRename))
	err := reg.Create(t.Context(), "/a", nil, registry.Persistent)
	if !errors.Is(err, registry.ErrUnknownOutcome) {
		t.Fatalf("failed rename: %v", err)
	}
	fs.SetHook(nil)
	err = reg.Create(t.Context(), "/a", nil, registry.Persistent)
	if !errors.Is(err, registry.ErrUnavailable) {
		t.Fatalf("write after a failed publish: %v", err)
	}
	if err := reg.Create(t.Context(), "/e", nil, registry.Ephemeral); err != nil {
		t.Fatalf("ephemeral nodes need no disk: %v", err)
	}
}
