package registrytest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"metaq/cluster/registry"
)

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// Suite runs all tests. open gives an opener of sessions with one store; it is
// called once a test, may return the same store each time, and cleans up by itself.
func Suite(t *testing.T, open func(t testing.TB) registry.Opener) {
	tests := []struct {
		name string
		run  func(t *testing.T, s *store)
	}{
		{"create then get returns the data at version 0", createThenGet},
		{"create refuses an existing node", createExisting},
		{"create refuses a missing parent", createWithoutParent},
		{"get of a missing node is not found", getMissing},
		{"set moves the version by one and refuses an old one", setVersions},
		{"delete refuses an old version and a node with children", deleteRefusals},
		{"a node made again starts at version 0", madeAgain},
		{"children are names in order", childrenSorted},
		{"the caller keeps its bytes", ownBytes},
		{"empty data is data", emptyData},
		{"invalid requests are refused before they are sent", invalidRequests},
		{"multi does all or nothing and names the culprit", multiAtomic},
		{"multi sees its own earlier operations", multiInOrder},
		{"multi check guards without changing", multiCheck},
		{"multi refuses what is too large", multiTooLarge},
		{"multi takes as much as it says", multiLargest},
		{"ephemeral nodes go with their session", ephemeralGoes},
		{"ephemeral nodes have an owner and no children", ephemeralOwner},
		{"an ephemeral node goes by delete", ephemeralDeleted},
		{"persistent nodes outlive their session", persistentStays},
		{"a data watch hints at creation, change and deletion", watchData},
		{"a children watch hints at coming and going only", watchChildren},
		{"a watch is used up by its hint", watchOnce},
		{"a full hint channel blocks nobody", watchFull},
		{"the end of the session hints its watches", watchEnd},
		{"a closed session answers closed", closed},
		{"a context that has ended is honoured", endedContext},
		{"compare and set loses no update", compareAndSet},
		{"one of many wins an ephemeral node", election},
		{"no producer id is taken twice", producerIDs},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.run(t, newStore(t, open(t))) })
	}
}

// store is one test's own corner of a store.
type store struct {
	t    testing.TB
	open registry.Opener
	root string
	reg  registry.Registry // a session that lasts for the test
}

func newStore(t testing.TB, open registry.Opener) *store {
	t.Helper()
	s := &store{t: t, open: open, root: "/suite-" + strings.ToLower(rand.Text())}
	s.reg = s.session()
	s.must(s.reg.Create(s.ctx(), s.root, nil, registry.Persistent))
	return s
}

func (s *store) session() registry.Registry {
	s.t.Helper()
	reg, err := s.open(s.ctx())
	if err != nil {
		s.t.Fatalf("open: %v", err)
	}
	s.t.Cleanup(func() {
		if err := reg.Close(); err != nil {
			s.t.Errorf("close: %v", err)
		}
	})
	return reg
}

func (s *store) ctx() context.Context {
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	s.t.Cleanup(cancel)
	return ctx
}

func (s *store) path(name string) string { return s.root + "/" + name }

func (s *store) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *store) is(err, want error) {
	s.t.Helper()
	if !errors.Is(err, want) {
		s.t.Fatalf("error %v, want %v", err, want)
	}
}

func (s *store) create(name, data string) {
	s.t.Helper()
	s.must(s.reg.Create(s.ctx(), s.path(name), []byte(data), registry.Persistent))
}

// caughtUp lets a session see what others have written: a write does, also an empty one.
func (s *store) caughtUp(reg registry.Registry) {
	s.t.Helper()
	s.must(reg.Multi(s.ctx(), registry.Check(s.root, 0)))
}

func (s *store) wantNode(name, data string, version registry.Version) {
	s.t.Helper()
	s.caughtUp(s.reg)
	n, err := s.reg.Get(s.ctx(), s.path(name))
	s.must(err)
	if string(n.Data) != data || n.Version != version {
		s.t.Fatalf("%s = %q at version %d, want %q at %d", name, n.Data, n.Version, data, version)
	}
}

func (s *store) wantGone(reg registry.Registry, path string) {
	s.t.Helper()
	hint := make(chan struct{}, 1)
	for {
		s.must(reg.Watch(s.ctx(), registry.WatchData, path, hint))
		_, err := reg.Get(s.ctx(), path)
		if errors.Is(err, registry.ErrNotFound) {
			return
		}
		s.must(err)
		s.wantHint(hint)
	}
}

func (s *store) wantHint(hint <-chan struct{}) {
	s.t.Helper()
	select {
	case <-hint:
	case <-time.After(patience):
		s.t.Fatal("no hint")
	}
}

// wantNoHint makes a change that hints another channel later, and looks only then:
// hints of one session come in the order of the changes.
func (s *store) wantNoHint(hint <-chan struct{}) {
	s.t.Helper()
	fence := make(chan struct{}, 1)
	name := "fence-" + strings.ToLower(rand.Text())
	s.must(s.reg.Watch(s.ctx(), registry.WatchData, s.root+"/"+name, fence))
	s.must(s.reg.Create(s.ctx(), s.root+"/"+name, nil, registry.Ephemeral))
	s.wantHint(fence)
	select {
	case <-hint:
		s.t.Fatal("a hint without a change")
	default:
	}
}

func createThenGet(_ *testing.T, s *store) {
	s.create("a", "one")
	s.wantNode("a", "one", 0)
}

func createExisting(_ *testing.T, s *store) {
	s.create("a", "one")
	s.is(s.reg.Create(s.ctx(), s.path("a"), nil, registry.Persistent), registry.ErrExists)
	s.is(s.reg.Create(s.ctx(), s.path("a"), nil, registry.Ephemeral), registry.ErrExists)
	s.wantNode("a", "one", 0)
}

func createWithoutParent(_ *testing.T, s *store) {
	s.is(s.reg.Create(s.ctx(), s.path("a/b"), nil, registry.Persistent), registry.ErrNotFound)
}

func getMissing(_ *testing.T, s *store) {
	_, err := s.reg.Get(s.ctx(), s.path("a"))
	s.is(err, registry.ErrNotFound)
	_, err = s.reg.Children(s.ctx(), s.path("a"))
	s.is(err, registry.ErrNotFound)
	_, err = s.reg.Set(s.ctx(), s.path("a"), nil, 0)
	s.is(err, registry.ErrNotFound)
	s.is(s.reg.Delete(s.ctx(), s.path("a"), 0), registry.ErrNotFound)
}

func setVersions(_ *testing.T, s *store) {
	s.create("a", "one")
	for i := range 3 {
		v, err := s.reg.Set(s.ctx(), s.path("a"), []byte(strconv.Itoa(i)), registry.Version(i))
		s.must(err)
		if v != registry.Version(i+1) {
			s.t.Fatalf("version %d after %d changes", v, i+1)
		}
	}
	_, err := s.reg.Set(s.ctx(), s.path("a"), []byte("late"), 1)
	s.is(err, registry.ErrVersion)
	_, err = s.reg.Set(s.ctx(), s.path("a"), []byte("early"), 4)
	s.is(err, registry.ErrVersion)
	s.wantNode("a", "2", 3)
}

func deleteRefusals(_ *testing.T, s *store) {
	s.create("a", "")
	s.create("a/b", "")
	s.is(s.reg.Delete(s.ctx(), s.path("a"), 0), registry.ErrNotEmpty)
	s.is(s.reg.Delete(s.ctx(), s.path("a/b"), 1), registry.ErrVersion)
	s.must(s.reg.Delete(s.ctx(), s.path("a/b"), 0))
	s.must(s.reg.Delete(s.ctx(), s.path("a"), 0))
	_, err := s.reg.Get(s.ctx(), s.path("a"))
	s.is(err, registry.ErrNotFound)
}

func madeAgain(_ *testing.T, s *store) {
	s.create("a", "one")
	_, err := s.reg.Set(s.ctx(), s.path("a"), []byte("two"), 0)
	s.must(err)
	s.must(s.reg.Delete(s.ctx(), s.path("a"), 1))
	s.create("a", "three")
	s.wantNode("a", "three", 0)
}

func childrenSorted(t *testing.T, s *store) {
	for _, name := range []string{"b", "a", "c-10", "c-9", "a/deeper"} {
		s.create(name, "")
	}
	got, err := s.reg.Children(s.ctx(), s.root)
	s.must(err)
	if diff := cmp.Diff([]string{"a", "b", "c-10", "c-9"}, got); diff != "" {
		t.Fatal(diff)
	}
	none, err := s.reg.Children(s.ctx(), s.path("b"))
	s.must(err)
	if len(none) != 0 {
		t.Fatalf("children of a leaf: %q", none)
	}
}

func ownBytes(_ *testing.T, s *store) {
	data := []byte("one")
	s.must(s.reg.Create(s.ctx(), s.path("a"), data, registry.Persistent))
	copy(data, "XXX")
	s.wantNode("a", "one", 0)
	n, err := s.reg.Get(s.ctx(), s.path("a"))
	s.must(err)
	copy(n.Data, "YYY")
	s.wantNode("a", "one", 0)
}

func emptyData(_ *testing.T, s *store) {
	s.must(s.reg.Create(s.ctx(), s.path("nil"), nil, registry.Persistent))
	s.must(s.reg.Create(s.ctx(), s.path("empty"), []byte{}, registry.Persistent))
	s.wantNode("nil", "", 0)
	s.wantNode("empty", "", 0)
	_, err := s.reg.Set(s.ctx(), s.path("nil"), nil, 0)
	s.must(err)
	s.wantNode("nil", "", 1)
}

func invalidRequests(_ *testing.T, s *store) {
	for _, path := range []string{"", "a", "/a/", "//a", "/a//b", "/a/./b", "/../b", "/a\x00b", "/caf\u00e9", "/a\nb"} {
		s.is(s.reg.Create(s.ctx(), path, nil, registry.Persistent), registry.ErrInvalid)
		_, err := s.reg.Get(s.ctx(), path)
		s.is(err, registry.ErrInvalid)
		s.is(s.reg.Watch(s.ctx(), registry.WatchData, path, make(chan struct{}, 1)), registry.ErrInvalid)
	}
	s.create("a", "one")
	_, err := s.reg.Set(s.ctx(), s.path("a"), nil, -1)
	s.is(err, registry.ErrInvalid)
	s.is(s.reg.Delete(s.ctx(), s.path("a"), -1), registry.ErrInvalid)
	s.is(s.reg.Multi(s.ctx(), registry.Check(s.path("a"), -1)), registry.ErrInvalid)
	s.is(s.reg.Delete(s.ctx(), "/", 0), registry.ErrInvalid)
	s.is(s.reg.Multi(s.ctx(), registry.Op{Path: s.path("a")}), registry.ErrInvalid)
	s.wantNode("a", "one", 0)
}

func multiAtomic(t *testing.T, s *store) {
	s.create("a", "one")
	err := s.reg.Multi(s.ctx(),
		registry.Create(s.path("b"), nil, registry.Persistent),
		registry.Set(s.path("a"), []byte("two"), 0),
		registry.Delete(s.path("missing"), 0),
		registry.Create(s.path("c"), nil, registry.Persistent),
	)
	s.is(err, registry.ErrNotFound)
	var opErr *registry.OpError
	if !errors.As(err, &opErr) || opErr.Index != 2 || opErr.Op.Path != s.path("missing") {
		t.Fatalf("%v does not name the third operation", err)
	}
	s.wantNode("a", "one", 0)
	got, err := s.reg.Children(s.ctx(), s.root)
	s.must(err)
	if diff := cmp.Diff([]string{"a"}, got); diff != "" {
		t.Fatal(diff)
	}
	s.must(s.reg.Multi(s.ctx()))
}

func multiInOrder(_ *testing.T, s *store) {
	s.must(s.reg.Multi(s.ctx(),
		registry.Create(s.path("a"), nil, registry.Persistent),
		registry.Create(s.path("a/b"), []byte("one"), registry.Persistent),
		registry.Set(s.path("a/b"), []byte("two"), 0),
		registry.Create(s.path("a/c"), nil, registry.Persistent),
		registry.Delete(s.path("a/c"), 0),
		registry.Check(s.path("a/b"), 1),
	))
	s.wantNode("a/b", "two", 1)
	_, err := s.reg.Get(s.ctx(), s.path("a/c"))
	s.is(err, registry.ErrNotFound)
}

func multiCheck(_ *testing.T, s *store) {
	s.create("right", "mine")
	s.create("a", "one")
	write := func(v registry.Version) error {
		n, err := s.reg.Get(s.ctx(), s.path("a"))
		s.must(err)
		return s.reg.Multi(s.ctx(), registry.Check(s.path("right"), v), registry.Set(s.path("a"), []byte("two"), n.Version))
	}
	s.must(write(0))
	s.wantNode("right", "mine", 0)
	_, err := s.reg.Set(s.ctx(), s.path("right"), []byte("theirs"), 0)
	s.must(err)
	s.is(write(0), registry.ErrVersion)
	s.wantNode("a", "two", 1)
	s.is(s.reg.Multi(s.ctx(), registry.Check(s.path("missing"), 0)), registry.ErrNotFound)
}

func multiTooLarge(_ *testing.T, s *store) {
	ops := make([]registry.Op, registry.MaxMultiOps+1)
	for i := range ops {
		ops[i] = registry.Create(s.path(strconv.Itoa(i)), nil, registry.Persistent)
	}
	s.is(s.reg.Multi(s.ctx(), ops...), registry.ErrTooLarge)
	big := make([]byte, registry.MaxMultiBytes)
	s.is(s.reg.Multi(s.ctx(), registry.Create(s.path("a"), big, registry.Persistent)), registry.ErrTooLarge)
	s.is(s.reg.Create(s.ctx(), s.path("a"), big, registry.Persistent), registry.ErrTooLarge)
	got, err := s.reg.Children(s.ctx(), s.root)
	s.must(err)
	if len(got) != 0 {
		s.t.Fatalf("left behind: %q", got)
	}
}

func multiLargest(_ *testing.T, s *store) {
	data := make([]byte, 400)
	ops := make([]registry.Op, registry.MaxMultiOps)
	for i := range ops {
		ops[i] = registry.Create(s.path(fmt.Sprintf("%040d", i)), data, registry.Persistent)
	}
	s.must(s.reg.Multi(s.ctx(), ops...))
	got, err := s.reg.Children(s.ctx(), s.root)
	s.must(err)
	if len(got) != len(ops) {
		s.t.Fatalf("%d children, want %d", len(got), len(ops))
	}
}

func ephemeralGoes(t *testing.T, s *store) {
	other := s.session()
	s.must(other.Create(s.ctx(), s.path("e"), []byte("here"), registry.Ephemeral))
	s.wantNode("e", "here", 0)
	s.create("p", "")
	s.must(other.Create(s.ctx(), s.path("p/e"), nil, registry.Ephemeral))
	hint := make(chan struct{}, 1)
	s.must(s.reg.Watch(s.ctx(), registry.WatchChildren, s.path("p"), hint))
	s.must(other.Close())
	s.wantHint(hint)
	s.wantGone(s.reg, s.path("e"))
	s.wantGone(s.reg, s.path("p/e"))
	select {
	case <-other.Done():
	default:
		t.Fatal("closed, but not done")
	}
}

func ephemeralOwner(t *testing.T, s *store) {
	s.must(s.reg.Create(s.ctx(), s.path("e"), nil, registry.Ephemeral))
	s.create("p", "")
	e, err := s.reg.Get(s.ctx(), s.path("e"))
	s.must(err)
	p, err := s.reg.Get(s.ctx(), s.path("p"))
	s.must(err)
	if e.Owner != s.reg.Session() || e.Owner == 0 || p.Owner != 0 {
		t.Fatalf("owners %d and %d, session %d", e.Owner, p.Owner, s.reg.Session())
	}
	if other := s.session(); other.Session() == s.reg.Session() {
		t.Fatalf("two sessions are %d", other.Session())
	}
	s.is(s.reg.Create(s.ctx(), s.path("e/child"), nil, registry.Persistent), registry.ErrEphemeralParent)
	s.is(s.reg.Create(s.ctx(), s.path("e/child"), nil, registry.Ephemeral), registry.ErrEphemeralParent)
}

func ephemeralDeleted(_ *testing.T, s *store) {
	other := s.session()
	s.must(other.Create(s.ctx(), s.path("e"), []byte("old"), registry.Ephemeral))
	// Another session takes the node over in one step: this is how a restarted broker does it.
	s.caughtUp(s.reg)
	s.must(s.reg.Multi(s.ctx(),
		registry.Delete(s.path("e"), 0), registry.Create(s.path("e"), []byte("new"), registry.Ephemeral)))
	s.must(other.Close())
	s.wantNode("e", "new", 0)
}

func persistentStays(_ *testing.T, s *store) {
	other := s.session()
	s.must(other.Create(s.ctx(), s.path("p"), []byte("stays"), registry.Persistent))
	s.must(other.Create(s.ctx(), s.path("e"), nil, registry.Ephemeral))
	s.must(other.Close())
	s.wantGone(s.reg, s.path("e"))
	s.wantNode("p", "stays", 0)
}

func watchData(_ *testing.T, s *store) {
	hint := make(chan struct{}, 1)
	other := s.session()
	watch := func() { s.must(s.reg.Watch(s.ctx(), registry.WatchData, s.path("a"), hint)) }
	watch()
	s.must(other.Create(s.ctx(), s.path("a"), nil, registry.Persistent))
	s.wantHint(hint)
	watch()
	_, err := other.Set(s.ctx(), s.path("a"), []byte("x"), 0)
	s.must(err)
	s.wantHint(hint)
	watch()
	s.must(other.Delete(s.ctx(), s.path("a"), 1))
	s.wantHint(hint)
}

func watchChildren(_ *testing.T, s *store) {
	hint := make(chan struct{}, 1)
	other := s.session()
	watch := func() { s.must(s.reg.Watch(s.ctx(), registry.WatchChildren, s.path("p"), hint)) }
	s.is(s.reg.Watch(s.ctx(), registry.WatchChildren, s.path("p"), hint), registry.ErrNotFound)
	s.create("p", "")
	watch()
	s.must(other.Create(s.ctx(), s.path("p/a"), nil, registry.Persistent))
	s.wantHint(hint)
	watch()
	_, err := s.reg.Set(s.ctx(), s.path("p/a"), []byte("x"), 0)
	s.must(err)
	_, err = s.reg.Set(s.ctx(), s.path("p"), []byte("x"), 0)
	s.must(err)
	s.must(s.reg.Create(s.ctx(), s.path("p/a/deeper"), nil, registry.Persistent))
	s.wantNoHint(hint)
	s.must(s.reg.Delete(s.ctx(), s.path("p/a/deeper"), 0))
	s.must(other.Delete(s.ctx(), s.path("p/a"), 1))
	s.wantHint(hint)
	watch()
	s.must(other.Delete(s.ctx(), s.path("p"), 1))
	s.wantHint(hint)
}

func watchOnce(_ *testing.T, s *store) {
	hint := make(chan struct{}, 10)
	s.create("a", "")
	for range 3 {
		s.must(s.reg.Watch(s.ctx(), registry.WatchData, s.path("a"), hint))
	}
	for v := range 3 {
		_, err := s.reg.Set(s.ctx(), s.path("a"), nil, registry.Version(v))
		s.must(err)
	}
	s.wantHint(hint)
	s.wantNoHint(hint)
}

func watchFull(_ *testing.T, s *store) {
	hint := make(chan struct{}) // nobody receives
	s.create("a", "")
	s.must(s.reg.Watch(s.ctx(), registry.WatchData, s.path("a"), hint))
	_, err := s.reg.Set(s.ctx(), s.path("a"), []byte("x"), 0)
	s.must(err)
	s.wantNode("a", "x", 1)
}

func watchEnd(_ *testing.T, s *store) {
	other := s.session()
	hint := make(chan struct{}, 1)
	s.must(other.Watch(s.ctx(), registry.WatchData, s.path("a"), hint))
	s.must(other.Close())
	s.wantHint(hint)
}

func closed(t *testing.T, s *store) {
	other := s.session()
	if err := other.Err(); err != nil || !other.Status().Connected {
		t.Fatalf("open session: %v, %+v", err, other.Status())
	}
	s.must(other.Close())
	s.must(other.Close())
	_, err := other.Get(s.ctx(), s.root)
	s.is(err, registry.ErrClosed)
	s.is(other.Create(s.ctx(), s.path("a"), nil, registry.Persistent), registry.ErrClosed)
	s.is(other.Multi(s.ctx(), registry.Check(s.root, 0)), registry.ErrClosed)
	s.is(other.Watch(s.ctx(), registry.WatchData, s.root, make(chan struct{}, 1)), registry.ErrClosed)
	s.is(other.Err(), registry.ErrClosed)
	if other.Status().Connected {
		t.Fatal("a closed session says that it is connected")
	}
}

func endedContext(_ *testing.T, s *store) {
	ctx, cancel := context.WithCancel(s.ctx())
	cancel()
	_, err := s.reg.Get(ctx, s.root)
	s.is(err, registry.ErrUnavailable)
	s.is(err, context.Canceled)
	err = s.reg.Create(ctx, s.path("a"), nil, registry.Persistent)
	s.is(err, registry.ErrUnavailable)
	s.is(err, context.Canceled)
	_, err = s.reg.Get(s.ctx(), s.path("a"))
	s.is(err, registry.ErrNotFound)
}

func compareAndSet(t *testing.T, s *store) {
	const workers, each = 4, 25
	s.create("n", "0")
	var wg sync.WaitGroup
	for range workers {
		reg := s.session()
		wg.Go(func() {
			for range each {
				if err := increment(s.ctx(), reg, s.path("n")); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	s.wantNode("n", strconv.Itoa(workers*each), workers*each)
}

func increment(ctx context.Context, reg registry.Registry, path string) error {
	for {
		n, err := reg.Get(ctx, path)
		if err != nil {
			return err
		}
		i, err := strconv.Atoi(string(n.Data))
		if err != nil {
			return err
		}
		_, err = reg.Set(ctx, path, []byte(strconv.Itoa(i+1)), n.Version)
		if !errors.Is(err, registry.ErrVersion) {
			return err
		}
	}
}

func election(t *testing.T, s *store) {
	const candidates = 5
	won := make(chan registry.SessionID, candidates)
	var wg sync.WaitGroup
	for range candidates {
		reg := s.session()
		wg.Go(func() {
			err := reg.Create(s.ctx(), s.path("leader"), nil, registry.Ephemeral)
			switch {
			case err == nil:
				won <- reg.Session()
			case !errors.Is(err, registry.ErrExists):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(won) != 1 {
		t.Fatalf("%d winners", len(won))
	}
	s.caughtUp(s.reg)
	n, err := s.reg.Get(s.ctx(), s.path("leader"))
	s.must(err)
	if winner := <-won; n.Owner != winner {
		t.Fatalf("owner %d, winner %d", n.Owner, winner)
	}
}
