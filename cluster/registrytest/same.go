package registrytest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"metaq/cluster/registry"
)

// Same does the same random operations in two registries and compares every answer:
// errors by their sentinel, and the whole tree after each change.
func Same(t *testing.T, a, b registry.Registry) {
	t.Helper()
	rapid.Check(t, func(rt *rapid.T) {
		root := "/same-" + strings.ToLower(rand.Text()) // rapid repeats itself, the stores remember
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		for _, reg := range []registry.Registry{a, b} {
			if err := reg.Create(ctx, root, nil, registry.Persistent); err != nil {
				rt.Fatal(err)
			}
		}
		for range rapid.IntRange(1, 12).Draw(rt, "multis") {
			ops := rapid.SliceOfN(anyOp(root), 1, 5).Draw(rt, "ops")
			errA, errB := a.Multi(ctx, ops...), b.Multi(ctx, ops...)
			if outcome(errA) != outcome(errB) {
				rt.Fatalf("%v\nfirst:  %v\nsecond: %v", ops, errA, errB)
			}
			if diff := cmp.Diff(treeOf(ctx, rt, a, root), treeOf(ctx, rt, b, root)); diff != "" {
				rt.Fatal(diff)
			}
		}
	})
}

// anyOp draws an operation on one of few paths, so that most have something to say.
func anyOp(root string) *rapid.Generator[registry.Op] {
	return rapid.Custom(func(t *rapid.T) registry.Op {
		path := root + rapid.SampledFrom([]string{"/a", "/b", "/a/c", "/a/d", "/a/c/e"}).Draw(t, "path")
		version := registry.Version(rapid.IntRange(0, 2).Draw(t, "version"))
		data := []byte(rapid.StringMatching(`[a-z]{0,3}`).Draw(t, "data"))
		switch rapid.IntRange(0, 5).Draw(t, "kind") {
		case 0, 1:
			return registry.Create(path, data, registry.Persistent)
		case 2:
			return registry.Create(path, data, registry.Ephemeral)
		case 3:
			return registry.Set(path, data, version)
		case 4:
			return registry.Delete(path, version)
		default:
			return registry.Check(path, version)
		}
	})
}

// outcome is which operation failed, and how.
func outcome(err error) string {
	if err == nil {
		return "done"
	}
	index := -1
	var op *registry.OpError
	if errors.As(err, &op) {
		index = op.Index
	}
	for _, sentinel := range []error{
		registry.ErrNotFound, registry.ErrExists, registry.ErrVersion, registry.ErrNotEmpty, registry.ErrEphemeralParent,
	} {
		if errors.Is(err, sentinel) {
			return fmt.Sprintf("%d: %v", index, sentinel)
		}
	}
	return err.Error()
}

func treeOf(ctx context.Context, t *rapid.T, reg registry.Registry, path string) map[string]string {
	all := map[string]string{}
	var walk func(path string)
	walk = func(path string) {
		n, err := reg.Get(ctx, path)
		if err != nil {
			t.Fatal(err)
		}
		all[path] = fmt.Sprintf("%q at %d, ephemeral %v", n.Data, n.Version, n.Owner == reg.Session())
		names, err := reg.Children(ctx, path)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			walk(path + "/" + name)
		}
	}
	walk(path)
	return all
}
