package store

import (
	"bytes"
	"io"
	"testing"

	"metaq/internal/vfs"
	"metaq/internal/vfs/faultfs"
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
	d := &Dirs{FS: disk(t, "/a"), Home: 0}
	if err := d.writeStamp("/a", token); err != nil {
		t.Fatal(err)
	}
	good := readStampFile(t, d.FS, "/a/"+stampName)
	noticed := 0
	for i := range 8 * len(good) {
		bad := bytes.Clone(good)
		bad[i/8] ^= 1 << (i % 8)
		fs := faultfs.New(1)
		if err := vfs.MakeDir(fs, "/a"); err != nil {
			t.Fatal(err)
		}
		writeStampFile(t, fs, bad)
		d, err := Open(fs, cfg)
		if err != nil {
			t.Fatalf("bit %d of %q: %v", i, bad, err)
		}
		if len(d.SetAside) == 0 && d.Token != token {
			t.Errorf("bit %d: nobody notices %q", i, bad)
		}
		if len(d.SetAside) > 0 {
			noticed++
			if r := d.SetAside[0]; r.Path != "/a/"+stampName || !bytes.Equal(readStampFile(t, fs, r.Kept), bad) || d.Token == token || d.Token == "" {
				t.Errorf("bit %d: %+v, token %q", i, r, d.Token)
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
		d, err := Open(fs, cfg)
		if err != nil {
			t.Fatal(err)
		}
		if d.Token != "abc" || len(d.SetAside) > 0 {
			t.Errorf("token %q, %v", d.Token, d.SetAside)
		}
		if b := readStampFile(t, fs, "/a/"+stampName); bytes.Equal(b, old) != full {
			t.Errorf("disk full: %v, the stamp is %s", full, b)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
