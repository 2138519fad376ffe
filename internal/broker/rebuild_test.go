package broker

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"metaq/cluster"
	"metaq/internal/vfs"
	"metaq/internal/vfs/faultfs"
	"metaq/persistence/store"
	"metaq/protocol"
)

// TestARebuildThatIsInterruptedGoesOn stops the machine at each step of a start
// that makes a lost registry again. Whatever is left, the next start must find
// every topic, and must set nothing aside.
func TestARebuildThatIsInterruptedGoesOn(t *testing.T) {
	for step := 1; ; step++ {
		fs := disk(t, "/data/a-0-0", "/data/a-0-1", "/data/b-0-0", "/data/c-0-2")
		steps := 0
		fs.SetHook(func(op faultfs.Op) *faultfs.Fault {
			if op.Kind.Changes() {
				if steps++; steps == step {
					return fs.Stopped(0)
				}
			}
			return nil
		})
		first := openTopics(t, fs)
		after := fs.Crash(50)
		if err := openTopics(t, after); err != nil {
			t.Fatalf("after a stop at step %d: %v", step, err)
		}
		for _, name := range []string{"/data/a-0-0", "/data/a-0-1", "/data/b-0-0", "/data/c-0-2"} {
			if _, err := after.Stat(name); err != nil {
				t.Fatalf("after a stop at step %d: %v", step, err)
			}
		}
		if ok, err := store.Exists(after, "/data/"+rebuildName); ok || err != nil {
			t.Fatalf("after a stop at step %d the mark is left: %v", step, err)
		}
		if first == nil {
			if step < 5 {
				t.Fatalf("only %d steps", step)
			}
			return
		}
	}
}

// openTopics does what a start does up to the topics, and says what differs from
// what the directories hold.
func openTopics(t *testing.T, fs vfs.FS) error {
	t.Helper()
	cfg := config(t, map[string]string{"data": "/data"})
	b := &Broker{cfg: cfg, opts: Options{FS: fs}, log: slog.New(slog.DiscardHandler)}
	return b.openTopics(t)
}

func (b *Broker) openTopics(t *testing.T) error {
	t.Helper()
	dirs, err := store.Open(b.opts.FS, b.cfg)
	if err != nil {
		return err
	}
	defer dirs.Close()
	reg, closeRegistry, err := b.registry(dirs)
	if err != nil {
		return err
	}
	defer func() { _ = closeRegistry() }() // the machine may have stopped
	if err := reg.Register(t.Context(), protocol.BrokerInfo{}); err != nil {
		return err
	}
	defer func() { _ = reg.Leave(t.Context()) }()
	topics, err := reg.Topics(t.Context())
	if err != nil {
		return err
	}
	got := map[string]int{}
	for _, topic := range topics {
		got[topic.Name] = topic.Partitions
	}
	if want := map[string]int{"a": 2, "b": 1, "c": 3}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("topics %v, want %v", got, want)
	}
	return nil
}

// TestAnOlderGenerationOfTheRegistryLosesNothing starts on the files that a stop
// between the two renames of a publish leaves.
func TestAnOlderGenerationOfTheRegistryLosesNothing(t *testing.T) {
	fs := disk(t, "/data/a-0-0", "/data/a-0-1", "/data/b-0-0", "/data/c-0-2")
	for range 2 { // the second writes the registry once more, so that there is an older one
		if err := openTopics(t, fs); err != nil {
			t.Fatal(err)
		}
	}
	if err := fs.Rename("/data/"+localRegistryName, "/data/"+localRegistryName+".prev"); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	cfg := config(t, map[string]string{"data": "/data"})
	b := &Broker{cfg: cfg, opts: Options{FS: fs}, log: slog.New(slog.NewTextHandler(&log, nil))}
	if err := b.openTopics(t); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(log.String(), "is lost") {
		t.Error(log.String())
	}
}

// TestADamagedWitnessIsTold holds that a broker which goes back to the generation
// before, or begins without one, says which file and where it is kept.
func TestADamagedWitnessIsTold(t *testing.T) {
	fs := disk(t, "/a")
	w, err := cluster.OpenWitness(fs, "/a", false)
	if err != nil {
		t.Fatal(err)
	}
	for epoch := protocol.Epoch(1); epoch < 3; epoch++ {
		if err := w.Raise(cluster.Epochs{"t": {0: {epoch}}}); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		harmed string
		epochs []protocol.Epoch
		told   []string
	}{
		{"witness", []protocol.Epoch{1}, []string{"the generation before is in use", "path=/a/witness ", "kept=/a/witness.damaged-1"}},
		{"witness.prev", nil, []string{"starts empty", "dir=/a ", "witness.damaged-2"}},
	} {
		if err := vfs.Publish(fs, "/a", c.harmed, func(w io.Writer) error { _, err := w.Write([]byte("x")); return err }); err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		w, err := openWitness(&store.Dirs{FS: fs, Main: "/a"}, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		if got := w.Highest("t", 0); !slices.Equal(got, c.epochs) {
			t.Errorf("%s: epochs %v", c.harmed, got)
		}
		for _, part := range c.told {
			if !strings.Contains(log.String(), part) {
				t.Errorf("%s: %q is not in %s", c.harmed, part, log.String())
			}
		}
	}
}
