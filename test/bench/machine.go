package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"metaq/internal/bench"
)

// machine is where a run took place, and with which versions.
type machine struct {
	When       time.Time         `json:"when"`
	OS         string            `json:"os"`
	CPU        string            `json:"cpu"`
	Cores      int               `json:"cores"`
	MemoryGiB  float64           `json:"memory_gib"`
	FileSystem string            `json:"file_system"`
	SyncP50    float64           `json:"fdatasync_p50_ms"` // 4 KiB appended to a growing file
	SyncP99    float64           `json:"fdatasync_p99_ms"`
	Packs      float64           `json:"payload_zstd_ratio"` // of 256 KiB of payloads
	Versions   map[string]string `json:"versions"`
}

func lookAtMachine(ctx context.Context, dir string, o *options) (machine, error) {
	m := machine{When: time.Now().UTC(), OS: osText(), CPU: cpuModel(), Cores: runtime.NumCPU(), MemoryGiB: memoryGiB(), FileSystem: fileSystem(dir)}
	var err error
	if m.SyncP50, m.SyncP99, err = syncCost(dir, min(2*time.Second, o.duration)); err != nil {
		return m, err
	}
	if m.Packs, err = zstdRatio(); err != nil {
		return m, err
	}
	m.Versions = map[string]string{
		"go": runtime.Version(), "nats-server": server.VERSION, "nats.go": nats.Version,
		"metaq": firstLine(ctx, o.metaq, "version"), "commit": commit(ctx),
	}
	return m, nil
}

// syncCost is the time of appending 4 KiB and fdatasync.
func syncCost(dir string, d time.Duration) (p50, p99 float64, err error) {
	f, err := os.Create(filepath.Join(dir, "sync-cost"))
	if err != nil {
		return 0, 0, err
	}
	defer func() {
		_ = f.Close()
		_ = os.Remove(f.Name())
	}()
	var h bench.Histogram
	block := make([]byte, 4096)
	for start := time.Now(); time.Since(start) < d; {
		at := time.Now()
		if err := writeSync(f, block); err != nil {
			return 0, 0, err
		}
		h.Add(time.Since(at))
	}
	var r loadResult
	r.setLatency(&h)
	return r.P50, r.P99, nil
}

func zstdRatio() (float64, error) {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		return 0, err
	}
	var raw []byte
	for p := newPayloads(128); len(raw) < 256<<10; {
		raw = append(raw, p.take(time.Time{})...)
	}
	return float64(len(raw)) / float64(len(w.EncodeAll(raw, nil))), w.Close()
}

// commit is the source's version control state; blank outside of a checkout.
func commit(ctx context.Context) string {
	if c := firstLine(ctx, "git", "describe", "--always", "--dirty", "--abbrev=12"); c != "" {
		return c
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return ""
}

func firstLine(ctx context.Context, program string, args ...string) string {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, args...).Output()
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(line)
}
