package durability

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"metaq/persistence"
	"metaq/protocol"
	"metaq/test/process"
)

// kept is one topic of TestRetention: what was put into it, and when.
type kept struct {
	topic  string
	values []string
	acked  []time.Time
}

func (k *kept) put(t *testing.T, w wire, n, size int) {
	t.Helper()
	for range n {
		value := fmt.Sprintf("%s %d %s", k.topic, len(k.values), strings.Repeat("x", size))
		// The broker stamps the record between these two.
		sent := time.Now()
		ack, err := w.put(k.topic, "0-0", value)
		if err != nil || int(ack.Offset) != len(k.values) {
			t.Fatalf("put to %s: %+v, %v", k.topic, ack, err)
		}
		k.values, k.acked = append(k.values, value), append(k.acked, sent)
	}
}

// archived returns the values in the archived segments of a partition directory:
// an archive is a segment, so a log opens it.
func archived(t *testing.T, dir, suffix string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*"+suffix))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no archive %s in %s: %v", suffix, dir, err)
	}
	as := t.TempDir()
	for _, path := range paths {
		b := slurp(t, path)
		if suffix == ".zip" {
			b = unzip(t, path)
		}
		write(t, filepath.Join(as, strings.TrimSuffix(filepath.Base(path), suffix)+".log"), b)
	}
	l, _, err := persistence.Open(persistence.Options{Dir: as})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}()
	var values []string
	for at := l.Start(); at < l.Next(); {
		b, err := l.Read(nil, at, l.Next(), 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		for len(b) > 0 {
			h, err := protocol.CheckBatch(b, 0)
			if err != nil {
				t.Fatal(err)
			}
			for r, err := range protocol.DecodeRecords(&h, b) {
				if err != nil {
					t.Fatal(err)
				}
				values = append(values, string(r.Value))
			}
			at, b = h.Next(), b[h.Length:]
		}
	}
	return values
}

func unzip(t *testing.T, path string) []byte {
	t.Helper()
	z, err := zip.OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	if len(z.File) != 1 {
		t.Fatalf("%s holds %d files", path, len(z.File))
	}
	f, err := z.File[0].Open()
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(f)
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return b
}

// TestRetention trims the topics of a real broker in every way there is, while
// others read them.
func TestRetention(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for messages to grow old: run make test")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	const age = 2 * time.Second
	b := process.Start(t, map[string]string{"max-segment-size": "4KiB", "max-segment-age": "1s"})
	c := connect(t, b.URL)
	w := dial(ctx, t, b.URL)
	const often = "* * * * * ?"
	newTopic := func(topic, policy, when string, size int64) *kept {
		t.Helper()
		config := protocol.TopicConfig{DeletePolicy: &policy, DeleteWhen: &when, RetentionBytes: &size}
		if _, err := c.Admin().CreateTopic(ctx, protocol.TopicCreate{Topic: topic, Partitions: 1, Config: config}); err != nil {
			t.Fatal(err)
		}
		return &kept{topic: topic}
	}
	deleted := newTopic("deleted", "delete,2s", often, 0)
	plain := newTopic("plain", "archive,2s", often, 0)
	zipped := newTopic("zipped", "archive,2s,true", often, 0)
	sized := newTopic("sized", "delete,168", often, 20_000)
	quiet := newTopic("quiet", "delete,168", often, 1)
	timed := newTopic("timed", "delete,1s", "0 0 0 29 2 ?", 0) // not before the next leap year
	old := newTopic("kept", "delete,1", often, 0)              // an hour
	all := []*kept{deleted, plain, zipped, sized, quiet, timed, old}
	for _, k := range []*kept{deleted, plain, zipped, sized, timed, old} {
		k.put(t, w, 60, 1000)
	}
	later := time.Now().Add(5 * time.Second).Truncate(time.Second)
	when := fmt.Sprintf("%d %d %d * * ?", later.Second(), later.Minute(), later.Hour())
	if _, err := c.Admin().SetTopic(ctx, protocol.TopicSet{Topic: timed.topic, Config: protocol.TopicConfig{DeleteWhen: &when}}); err != nil {
		t.Fatal(err)
	}
	quiet.put(t, w, 3, 10) // nothing more comes: only age makes a new segment

	start := func(k *kept) int {
		t.Helper()
		info, err := c.Admin().TopicInfo(ctx, k.topic)
		if err != nil {
			t.Fatal(err)
		}
		p := info.Partitions[0]
		if p.Error != "" || int(p.EndOffset) != len(k.values) {
			t.Fatalf("%s: %+v", k.topic, p)
		}
		return int(p.LogStart)
	}

	// Readers begin at every place again and again. What they get is right, or 416
	// with the log start: never an error of the disk.
	stop := make(chan struct{})
	var readers sync.WaitGroup
	defer readers.Wait()
	end := sync.OnceFunc(func() { close(stop) })
	defer end()
	moved := make(chan int, 3)
	for _, k := range []*kept{deleted, plain, zipped} {
		values := k.values
		readers.Go(func() {
			refused := 0
			defer func() { moved <- refused }()
			for at := 0; ; at = (at + 7) % len(values) {
				select {
				case <-stop:
					return
				default:
				}
				got, err := w.get(k.topic, "0-0", protocol.Offset(at))
				var out *protocol.RangeError
				switch {
				case errors.As(err, &out):
					refused++
					if out.Err.Code != 416 || int(out.LogStart) <= at || int(out.EndOffset) != len(values) {
						t.Errorf("%s at %d: %+v", k.topic, at, out)
					}
				case err != nil:
					t.Errorf("%s at %d: %v", k.topic, at, err)
					return
				default:
					if diff := cmp.Diff(values[at:at+len(got)], got); diff != "" || len(got) == 0 {
						t.Errorf("%s at %d: %d values, %s", k.topic, at, len(got), diff)
						return
					}
				}
			}
		})
	}

	until(ctx, t, "quiet topics are trimmed to their end", func() bool {
		for _, k := range []*kept{deleted, plain, zipped} {
			if n := start(k); n > 0 && time.Since(k.acked[n-1]) < age {
				t.Fatalf("message %d of %s is gone after %s", n-1, k.topic, time.Since(k.acked[n-1]))
			}
		}
		if n := start(timed); n > 0 && time.Now().Before(later) {
			t.Fatalf("%d messages of %s are gone at %s, deleteWhen says %s", n, timed.topic, time.Now(), later)
		}
		return start(deleted) == 60 && start(plain) == 60 && start(zipped) == 60 && start(quiet) == 3 && start(timed) == 60
	})
	end()
	for range 3 {
		if n := <-moved; n == 0 {
			t.Error("no reader met the new log start")
		}
	}
	readers.Wait()
	if n := start(old); n != 0 {
		t.Errorf("%d messages that are younger than an hour are gone", n)
	}
	info, err := c.Admin().TopicInfo(ctx, sized.topic)
	if err != nil {
		t.Fatal(err)
	}
	if p := info.Partitions[0]; p.LogStart == 0 || p.Bytes < 20_000 || p.Bytes > 20_000+2*4096 {
		t.Errorf("of %d bytes %d are kept, from message %d on; retentionBytes is 20000", 60*1000, p.Bytes, p.LogStart)
	}
	for k, suffix := range map[*kept]string{plain: ".arc", zipped: ".zip"} {
		dir := filepath.Join(b.Dir, k.topic+"-0-0")
		until(ctx, t, "the last segment is archived", func() bool {
			logs, err := filepath.Glob(filepath.Join(dir, "*.log"))
			return err == nil && len(logs) == 1 // the active one
		})
		if diff := cmp.Diff(k.values, archived(t, dir, suffix)); diff != "" {
			t.Errorf("the archives of %s: %s", k.topic, diff)
		}
	}

	// The tail is never trimmed: the next message continues the log, over a restart.
	b.Kill()
	b.Start()
	c, w = connect(t, b.URL), dial(ctx, t, b.URL)
	for _, k := range all {
		k.put(t, w, 1, 10)
		got, err := w.get(k.topic, "0-0", protocol.Offset(len(k.values)-1))
		if diff := cmp.Diff(k.values[len(k.values)-1:], got); err != nil || diff != "" {
			t.Errorf("%s: %v, %s", k.topic, err, diff)
		}
	}
}
