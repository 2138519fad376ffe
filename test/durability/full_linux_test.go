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

	"github.com/nats-io/nats.go"
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
	nc, err := nats.Connect(b.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()

	l := newLedger()
	payload := strings.Repeat("x", 10_000)
	put := func(n int) error {
		value := fmt.Sprintf("v %d %s", n, payload)
		m, err := nc.RequestWithContext(ctx, "metaq.put.t", []byte(value))
		if err != nil {
			return err
		}
		ack, err := decodeAck(m.Data)
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
	// So does a restart.
	b.Kill()
	b.Start()
	c = connect(t, b.URL)

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
		if _, err := nc.RequestWithContext(ctx, "metaq.put.short", []byte(large)); err != nil {
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
