package durability

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"metaq/protocol"
	"metaq/test/process"
)

const (
	firstSegment = "00000000000000000000.log"
	firstIndex   = "00000000000000000000.index"
)

// harms is what is done to a file behind the broker's back.
var harms = map[string]func(t *testing.T, path string){
	"flipped": func(t *testing.T, path string) {
		b := slurp(t, path)
		b[len(b)/2] ^= 0xff
		write(t, path, b)
	},
	"cut":   func(t *testing.T, path string) { write(t, path, slurp(t, path)[:len(slurp(t, path))/2]) },
	"empty": func(t *testing.T, path string) { slurp(t, path); write(t, path, nil) },
	"removed": func(t *testing.T, path string) {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	},
}

func slurp(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// spoil inverts a byte within value, which stands in the file once.
func spoil(t *testing.T, path, value string) []byte {
	t.Helper()
	b := slurp(t, path)
	at := bytes.Index(b, []byte(value))
	if at < 0 {
		t.Fatalf("%s does not hold %q", path, value)
	}
	b[at] ^= 0xff
	write(t, path, b)
	return b
}

// TestDamageStopsOnePartitionAlone flips one byte of a synced batch behind the
// back of a stopped broker. After a crash the start finds it; after an orderly
// stop, which leaves nothing to recover, the first read does. That partition says
// where, nothing on disk changes, and all others serve.
func TestDamageStopsOnePartitionAlone(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	b := process.Start(t, nil)
	c := connect(t, b.URL)
	create(t, c, "t", 4)
	w := dial(ctx, t, b.URL)
	want := map[string][]string{}
	for n := range 4 {
		id := fmt.Sprintf("0-%d", n)
		for i := range 5 {
			value := fmt.Sprintf("%s message %d", id, i)
			if _, err := w.put("t", id, value); err != nil {
				t.Fatal(err)
			}
			want[id] = append(want[id], value)
		}
	}
	serves := func(id string) {
		t.Helper()
		got, err := w.get("t", id, 0)
		if err != nil {
			t.Fatalf("partition %s: %v", id, err)
		}
		if diff := cmp.Diff(want[id], got); diff != "" {
			t.Fatalf("partition %s: %s", id, diff)
		}
		value := fmt.Sprintf("%s message %d", id, len(got))
		ack, err := w.put("t", id, value)
		if err != nil || int(ack.Offset) != len(got) {
			t.Fatalf("put to partition %s: %+v, %v", id, ack, err)
		}
		want[id] = append(want[id], value)
	}
	// tells wants the damage in everything that an operator looks at.
	tells := func(id, path string) {
		t.Helper()
		where := "damage in " + path + " at byte "
		info, err := c.Admin().TopicInfo(ctx, "t")
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range info.Partitions {
			if bad := p.Partition.String() == id; bad != strings.Contains(p.Error, where) || !bad && p.Error != "" {
				t.Errorf("topic info says of partition %s: %q", p.Partition, p.Error)
			}
		}
		cluster, err := c.Admin().ClusterInfo(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if f := cluster.Failed; len(f) != 1 || f[0].Partition.String() != id || !strings.Contains(f[0].Error, where) {
			t.Errorf("cluster info says: %+v", f)
		}
		t.Logf("cluster info: %s", cluster.Failed[0].Error)
		for _, ask := range []func() error{
			func() error { _, err := w.put("t", id, "x"); return err },
			func() error { _, err := w.get("t", id, 0); return err },
		} {
			if err := ask(); !errors.Is(err, protocol.ErrPartition) || !strings.Contains(err.Error(), where) {
				t.Errorf("a request to partition %s is answered with %v", id, err)
			}
		}
	}
	unchanged := func(path string, before []byte) {
		t.Helper()
		if !bytes.Equal(before, slurp(t, path)) {
			t.Errorf("%s was changed", path)
		}
	}

	b.Kill()
	path := filepath.Join(b.Dir, "t-0-1", firstSegment)
	good := slurp(t, path)
	bad := spoil(t, path, want["0-1"][2])
	b.Start()
	c, w = connect(t, b.URL), dial(ctx, t, b.URL)
	tells("0-1", path)
	for _, id := range []string{"0-0", "0-2", "0-3"} {
		serves(id)
	}
	b.Stop()
	unchanged(path, bad)

	// The copy that the error asks for brings it back. Another one is damaged.
	write(t, path, good)
	path = filepath.Join(b.Dir, "t-0-2", firstSegment)
	bad = spoil(t, path, want["0-2"][2])
	b.Start()
	c, w = connect(t, b.URL), dial(ctx, t, b.URL)
	if values, err := w.get("t", "0-2", 0); err == nil {
		// One answer may end before the damage; what it holds is good.
		if diff := cmp.Diff(want["0-2"][:2], values); diff != "" {
			t.Fatal(diff)
		}
		if _, err = w.get("t", "0-2", 2); err == nil {
			t.Fatal("a damaged message was read")
		}
	}
	until(ctx, t, "the partition stops", func() bool {
		info, err := c.Admin().ClusterInfo(ctx)
		return err == nil && len(info.Failed) > 0
	})
	tells("0-2", path)
	for _, id := range []string{"0-0", "0-1", "0-3"} {
		serves(id)
	}
	b.Stop()
	unchanged(path, bad)
}

// TestSmallFilesComeBack damages and removes, one after the other, every file of
// a broker but its messages. It starts all the same, no message and no offset is
// lost, epochs do not fall, and what was damaged is kept under another name.
func TestSmallFilesComeBack(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	b := process.Start(t, nil)
	c := connect(t, b.URL)
	create(t, c, "t", 2)
	w := dial(ctx, t, b.URL)
	// Enough for an index.
	large := strings.Repeat("x", 50_000)
	var want []string
	put := func() {
		t.Helper()
		value := fmt.Sprintf("%d %s", len(want), large)
		ack, err := w.put("t", "0-1", value)
		if err != nil || int(ack.Offset) != len(want) {
			t.Fatalf("put: %+v, %v, want offset %d", ack, err, len(want))
		}
		want = append(want, value)
	}
	for range 6 {
		put()
	}
	epoch := protocol.Epoch(0)
	for _, names := range []string{
		"registry", "registry.prev", "registry registry.prev", "witness", "broker.json", "t-0-1/epochs", "t-0-1/" + firstIndex, "groups/epochs", "elapsed",
	} {
		for _, harm := range slices.Sorted(maps.Keys(harms)) {
			t.Run(harm+" "+names, func(t *testing.T) {
				// By turns after a crash and after an orderly stop.
				if len(want)%2 == 0 {
					b.Kill()
				} else {
					b.Stop()
				}
				for name := range strings.FieldsSeq(names) {
					harms[harm](t, filepath.Join(b.Dir, filepath.FromSlash(name)))
				}
				b.Start()
				c, w = connect(t, b.URL), dial(ctx, t, b.URL)
				info, err := c.Admin().TopicInfo(ctx, "t")
				if err != nil {
					t.Fatal(err)
				}
				if len(info.Partitions) != 2 {
					t.Fatalf("%d partitions of 2 are there", len(info.Partitions))
				}
				p := info.Partitions[1]
				if p.Error != "" || p.Epoch <= epoch {
					t.Fatalf("epoch %d came after %d: %s", p.Epoch, epoch, p.Error)
				}
				epoch = p.Epoch
				for from := 0; from < len(want); {
					got, err := w.get("t", "0-1", protocol.Offset(from))
					if err != nil || len(got) == 0 {
						t.Fatalf("get from %d: %d messages, %v", from, len(got), err)
					}
					for _, value := range got {
						if value != want[from] {
							t.Fatalf("message %d is %.20s", from, value)
						}
						from++
					}
				}
				put()
			})
		}
	}
	b.Stop()
	for _, pattern := range []string{
		"registry*.damaged-*", "witness*.damaged-*", "broker.json.set-aside-corrupt-*", "t-0-1/epochs.set-aside-corrupt-*", "groups/epochs.set-aside-corrupt-*", "elapsed.set-aside-corrupt-*",
	} {
		kept, err := filepath.Glob(filepath.Join(b.Dir, filepath.FromSlash(pattern)))
		// Flipped, cut and empty.
		if err != nil || len(kept) < 3 {
			t.Errorf("%d files %s were kept, want 3 or more: %v", len(kept), pattern, err)
		}
	}
}
