package broker

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"metaq/actors"
	"metaq/internal/vfs/faultfs"
	"metaq/persistence/store"
	"metaq/protocol"
)

// filler fills a disk through a log as a partition does.
type filler struct {
	t    *testing.T
	log  actors.Log
	room *store.Room
}

func (f *filler) put(size int) error {
	var b protocol.BatchBuilder
	r := protocol.Record{Value: make([]byte, size)}
	if err := b.Add(&r); err != nil {
		f.t.Fatal(err)
	}
	enc := b.Encode(protocol.CompressionNone, protocol.Producer{ID: protocol.NoProducer})
	protocol.StampBatch(enc, protocol.Stamp{
		Base: f.log.Next(), Position: f.log.NextPosition(), Epoch: f.log.LastEpoch(), MaxTime: time.Now().UnixMilli(), MetaqLen: b.MetaqLen(),
	})
	err := f.log.Append(enc, nil)
	if err == nil {
		err = f.log.Sync()
	}
	return err
}

// TestAFullDiskIsToldOnce fills the disk, puts on for a minute, and makes room: with nobody
// who puts then, and with somebody whose messages had fitted all the time.
func TestAFullDiskIsToldOnce(t *testing.T) {
	for name, small := range map[string]bool{"nobody puts": false, "small messages fit": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { fullDisk(t, small) })
		})
	}
}

func fullDisk(t *testing.T, small bool) {
	var logged bytes.Buffer
	fs := faultfs.New(1)
	dirs, err := store.Open(fs, config(t, map[string]string{"data": "/a", "disk-reserve": "10000"}))
	if err != nil {
		t.Fatal(err)
	}
	defer dirs.Close()
	metrics := prometheus.NewRegistry()
	r := store.NewRoom(dirs, time.Now, slog.New(slog.NewTextHandler(&logged, nil)), metrics)
	files := &logs{dirs: dirs, room: r, log: slog.New(slog.DiscardHandler), now: time.Now}
	log, err := files.Open("t", protocol.PartitionID{}, actors.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	f := &filler{t: t, log: log, room: r}
	told := func(begin, end int) {
		t.Helper()
		synctest.Wait()
		if b, e := strings.Count(logged.String(), "disk is full"), strings.Count(logged.String(), "disk has room again"); b != begin || e != end {
			t.Fatalf("%d lines tell of its begin, %d of its end, want %d and %d:\n%s", b, e, begin, end, &logged)
		}
		if got, err := metricOf(metrics); err != nil || got != float64(begin-end) {
			t.Fatalf("the metric is %g (%v) after %d begins and %d ends", got, err, begin, end)
		}
		if full := r.Trouble() != ""; full != (begin > end) {
			t.Fatalf("trouble is %q", r.Trouble())
		}
	}
	told(0, 0)
	fs.SetLimit(fs.Used() + 60_000)
	for err = nil; err == nil; {
		err = f.put(5000)
	}
	if !errors.Is(err, protocol.ErrDiskFull) {
		t.Fatal(err)
	}
	for range 60 {
		if err := f.put(30_000); !errors.Is(err, protocol.ErrDiskFull) {
			t.Fatal(err)
		}
		time.Sleep(time.Second) //nolint:forbidigo // of the bubble
		told(1, 0)
	}
	if small {
		fs.SetLimit(fs.Used() + 12_000)
		time.Sleep(store.RoomCalm) //nolint:forbidigo // of the bubble
		if err := f.put(10); err != nil {
			t.Fatal(err)
		}
	} else {
		fs.SetLimit(fs.Used() + 10<<20)
		time.Sleep(store.RoomCalm + 2*store.RoomEvery) //nolint:forbidigo // of the bubble
	}
	told(1, 1)
	fs.SetLimit(fs.Used())
	if err := f.put(10); !errors.Is(err, protocol.ErrDiskFull) {
		t.Fatal(err)
	}
	told(2, 1)
	fs.SetLimit(0)
	if err := errors.Join(log.Close(), r.Close(t.Context()), r.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
}

func metricOf(g prometheus.Gatherer) (float64, error) {
	all, err := g.Gather()
	if err != nil || len(all) != 1 || all[0].GetName() != "metaq_disk_full" {
		return -1, errors.Join(err, errors.New("no metaq_disk_full"))
	}
	return all[0].GetMetric()[0].GetGauge().GetValue(), nil
}
