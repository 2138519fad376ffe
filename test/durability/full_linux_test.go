package durability

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"metaq/protocol"
	"metaq/test/process"
)

// smallDisk mounts a file system of the given size for the test.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Fatalf("mount a tmpfs of %s: %v: run this test as root", size, err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// TestDiskFull fills a real file system. Puts are refused with "disk full" and
// nothing else suffers; once there is room, service is back by itself and nothing
// that was acknowledged is gone.
func TestDiskFull(t *testing.T) {
	if testing.Short() {
		t.Skip("mounts a file system: run make test")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	disk := smallDisk(t, "24m")
	ballast := filepath.Join(disk, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 8<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	b := process.Start(t, map[string]string{
		"data": filepath.Join(disk, "data"), "max-segment-size": "1MiB", "disk-reserve": "2MiB",
	})
	c := connect(t, b.URL)
	create(t, c, "t", 2)
	// This one is trimmed, as soon as it may be.
	policy, when := "delete,1s", "* * * * * ?"
	if _, err := c.Admin().CreateTopic(ctx, protocol.TopicCreate{
		Topic: "short", Partitions: 1, Config: protocol.TopicConfig{DeletePolicy: &policy, DeleteWhen: &when},
	}); err != nil {
		t.Fatal(err)
	}
	w := dial(ctx, t, b.URL)
	var member protocol.GroupView
	if err := w.askJSON("metaq.group.g.join", protocol.GroupJoin{Topics: []string{"t"}, SessionMs: 600_000}, &member); err != nil {
		t.Fatal(err)
	}
	commit := func(offset protocol.Offset) error {
		var done protocol.GroupOffsets
		return w.askJSON("metaq.group.g.commit", protocol.GroupCommit{
			Member: member.Member, Generation: member.Generation,
			Offsets: []protocol.GroupPosition{{Topic: "t", Partition: protocol.PartitionID{N: 1}, Offset: offset}},
		}, &done)
	}

	l := newLedger()
	payload := strings.Repeat("x", 10_000)
	put := func(n int) error {
		value := fmt.Sprintf("v %d %s", n, payload)
		var ack protocol.PubAck
		err := w.ask("metaq.put.t", []byte(value), &ack)
		if err == nil {
			l.ack(value, place{ack.Partition, ack.Offset})
		}
		return err
	}
	n, refusal := 0, error(nil)
	for ; refusal == nil && n < 10_000; n++ {
		refusal = put(n)
	}
	if !errors.Is(refusal, protocol.ErrDiskFull) || !strings.Contains(refusal.Error(), "disk full") || protocol.AsError(refusal).Code != 503 {
		t.Fatalf("after %d messages: %v, want 503 disk full", n, refusal)
	}
	t.Logf("the disk is full after %d messages: %v", n, refusal)

	// Reads go on while it is full.
	r, err := c.NewReader(ctx, "t")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for range l.count() {
		if _, err := r.Next(ctx); err != nil {
			t.Fatalf("read while the disk is full: %v", err)
		}
	}
	// So do offset commits, more of them than a consumer makes in an hour.
	const commits = 500
	for i := range protocol.Offset(commits) {
		if err := commit(i + 1); err != nil {
			t.Fatalf("commit %d while the disk is full: %v", i, err)
		}
	}
	// So does a restart, and what was committed is there.
	b.Kill()
	b.Start()
	c = connect(t, b.URL)
	w = dial(ctx, t, b.URL)
	committed, err := c.Admin().GroupOffsets(ctx, "g")
	if err != nil {
		t.Fatal(err)
	}
	if n := len(committed); n != 2 || committed[1].Offset != commits {
		t.Fatalf("%d was committed last, after a restart there is %v", commits, committed)
	}
	if err := commit(commits + 1); err != nil {
		t.Fatalf("commit after a restart on a full disk: %v", err)
	}
	t.Logf("%d offsets were committed while the disk was full", commits+1)

	// Topics can be made, since messages leave a little room.
	create(t, c, "while-full", 1)

	// Room comes, and service is back without anybody's help.
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	for {
		err := put(n)
		n++
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("no service after room was made: %v", err)
		}
		<-time.After(10 * time.Millisecond)
	}
	l.judge(ctx, t, c, "t", false)

	// Full again. Retention of another topic makes room, and all may write again.
	large := strings.Repeat("y", 500_000)
	for i := range 6 {
		if _, err := w.put("short", "0-0", large); err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
	}
	if err := os.WriteFile(ballast, make([]byte, 64<<20), 0o600); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("fill the disk to its last byte: %v", err)
	}
	if err := put(n); !errors.Is(err, protocol.ErrDiskFull) {
		t.Fatalf("put on a disk without a byte left: %v", err)
	}
	for {
		info, err := c.Admin().TopicInfo(ctx, "short")
		if err != nil {
			t.Fatal(err)
		}
		if info.Partitions[0].LogStart > 0 {
			break
		}
		<-time.After(10 * time.Millisecond)
	}
}
