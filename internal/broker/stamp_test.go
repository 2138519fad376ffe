package broker

import (
	"bytes"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"metaq/cluster"
	"metaq/internal/vfs"
	"metaq/internal/vfs/faultfs"
	"metaq/protocol"
)

func readStampFile(t *testing.T, fs vfs.FS, path string) []byte {
	t.Helper()
	b, err := vfs.ReadFile(fs, path, 1<<16)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func writeStampFile(t *testing.T, fs vfs.FS, content []byte) {
	t.Helper()
	if err := vfs.Publish(fs, "/a", stampName, func(w io.Writer) error { _, err := w.Write(content); return err }); err != nil {
		t.Fatal(err)
	}
}

// TestADamagedStampIsNoticed flips every bit of a stamp. Either it says the same as
// before, or it is kept aside, which is told, and made again.
func TestADamagedStampIsNoticed(t *testing.T) {
	cfg := config(t, map[string]string{"data": "/a"})
	token := "h7vWn2UkDxLq0TzYb3RcJe"
	d := &dataDirs{fs: disk(t, "/a"), home: 0}
	if err := d.writeStamp("/a", token); err != nil {
		t.Fatal(err)
	}
	good := readStampFile(t, d.fs, "/a/"+stampName)
	noticed := 0
	for i := range 8 * len(good) {
		bad := bytes.Clone(good)
		bad[i/8] ^= 1 << (i % 8)
		fs := faultfs.New(1)
		if err := vfs.MakeDir(fs, "/a"); err != nil {
			t.Fatal(err)
		}
		writeStampFile(t, fs, bad)
		d, err := openDataDirs(fs, cfg)
		if err != nil {
			t.Fatalf("bit %d of %q: %v", i, bad, err)
		}
		if len(d.setAside) == 0 && d.token != token {
			t.Errorf("bit %d: nobody notices %q", i, bad)
		}
		if len(d.setAside) > 0 {
			noticed++
			if r := d.setAside[0]; r.path != "/a/"+stampName || !bytes.Equal(readStampFile(t, fs, r.kept), bad) || d.token == token || d.token == "" {
				t.Errorf("bit %d: %+v, token %q", i, r, d.token)
			}
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if noticed < 6*len(token) {
		t.Errorf("%d of %d flips were noticed", noticed, 8*len(good))
	}
}

// TestAnOlderReleasesStampKeepsItsToken also holds that it gets a checksum, as soon
// as the disk has room.
func TestAnOlderReleasesStampKeepsItsToken(t *testing.T) {
	fs, cfg := disk(t, "/a"), config(t, map[string]string{"data": "/a"})
	old := []byte(`{"broker_id":0,"token":"abc"}` + "\n")
	writeStampFile(t, fs, old)
	for _, full := range []bool{true, false} {
		fs.SetLimit(0)
		if full {
			fs.SetLimit(fs.Used())
		}
		d, err := openDataDirs(fs, cfg)
		if err != nil {
			t.Fatal(err)
		}
		if d.token != "abc" || len(d.setAside) > 0 {
			t.Errorf("token %q, %v", d.token, d.setAside)
		}
		if b := readStampFile(t, fs, "/a/"+stampName); bytes.Equal(b, old) != full {
			t.Errorf("disk full: %v, the stamp is %s", full, b)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
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
		w, err := openWitness(&dataDirs{fs: fs, main: "/a"}, slog.New(slog.NewTextHandler(&log, nil)))
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
