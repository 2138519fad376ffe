package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"metaq/internal/broker"
	"metaq/internal/vfs/faultfs"
	"metaq/protocol"
)

func TestARestartKeepsEverything(t *testing.T) {
	dir := t.TempDir()
	b := start(t, options{dir: dir})
	b.create("made", 2)
	var want []string
	for i := range 50 {
		want = append(want, fmt.Sprint(i))
		b.put("metaq.put.made.0-1", "", want[i])
		b.put("metaq.put.auto", "k", want[i])
	}
	var before protocol.TopicInfo
	b.askJSON("metaq.admin.topic.info", `{"topic":"made"}`, &before)
	b.stop()

	b = start(t, options{dir: dir})
	if d := cmp.Diff(want, values(b.all("made", "0-1"))); d != "" {
		t.Error(d)
	}
	ack := b.put("metaq.put.auto", "k", "last")
	if d := cmp.Diff(append(want, "last"), values(b.all("auto", ack.Partition.String()))); d != "" {
		t.Error(d)
	}
	var after protocol.TopicInfo
	b.askJSON("metaq.admin.topic.info", `{"topic":"made"}`, &after)
	for i, p := range after.Partitions {
		if p.Epoch <= before.Partitions[i].Epoch {
			t.Errorf("partition %s: epoch %d after %d", p.Partition, p.Epoch, before.Partitions[i].Epoch)
		}
	}
}

// A broker that says that it is ready answers for its groups, however slow the disk is
// with their log.
func TestAReadyBrokerKnowsItsGroups(t *testing.T) {
	disk := faultfs.New(1)
	on := options{dir: "/data", with: func(o *broker.Options) { o.FS = disk }}
	b := start(t, on)
	b.create("t", 1)
	var joined protocol.GroupView
	b.askJSON("metaq.group.g.join", `{"topics":["t"]}`, &joined)
	b.stop()

	disk.SetHook(func(op faultfs.Op) *faultfs.Fault {
		if strings.HasPrefix(op.Path, "/data/groups") {
			<-time.After(10 * time.Millisecond) // the disk's own time
		}
		return nil
	})
	b = start(t, on)
	var info protocol.GroupInfo
	b.askJSON("metaq.group.g.info", "", &info)
	if len(info.Members) != 1 || info.Members[0].Member != joined.Member {
		t.Errorf("the group is %+v after a restart, want %s in it", info, joined.Member)
	}
}

func TestAStartIsFast(t *testing.T) {
	began := time.Now()
	start(t, options{})
	if took := time.Since(began); took > time.Second {
		t.Errorf("a start with no data took %s", took)
	}
}

// TestWhatWasAcknowledgedSurvivesACrash stops the machine in the middle of puts,
// with what was not synced lost at random.
func TestWhatWasAcknowledgedSurvivesACrash(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			disk := faultfs.New(seed)
			on := func(fs *faultfs.FS) options {
				return options{dir: "/data", with: func(o *broker.Options) { o.FS = fs }}
			}
			b := start(t, on(disk))
			b.create("t", 1)
			steps := 0
			disk.SetHook(func(op faultfs.Op) *faultfs.Fault {
				if op.Kind.Changes() && strings.HasPrefix(op.Path, "/data/t-0-0") {
					if steps++; steps == 20+17*int(seed) {
						return disk.Stopped(op.Len / 2)
					}
				}
				return nil
			})
			var sent, acked, tokens []string
			const window = 20 // so that there are many steps to stop at
			for i := range 2000 {
				sent = append(sent, fmt.Sprint(i))
				tokens = append(tokens, b.request("metaq.put.t.0-0", nil, []byte(sent[i])))
				if i%window == 0 {
					b.wait(tokens[i])
				}
			}
			for i, token := range tokens {
				if protocol.DecodeError(b.wait(token).Data) == nil {
					acked = append(acked, sent[i])
				}
			}
			b.abandon()

			again := start(t, on(disk.Crash(50)))
			got := values(again.all("t", "0-0"))
			if len(got) < len(acked) || len(acked) == 0 || len(acked) == len(sent) {
				t.Fatalf("%d of %d were acknowledged, %d recovered", len(acked), len(sent), len(got))
			}
			if d := cmp.Diff(sent[:len(got)], got); d != "" {
				t.Errorf("recovered is no prefix of what was sent: %s", d)
			}
			if d := cmp.Diff(acked, got[:len(acked)]); d != "" {
				t.Errorf("acknowledged is no prefix of what was recovered: %s", d)
			}
			t.Logf("%d acknowledged, %d recovered, %d sent", len(acked), len(got), len(sent))
		})
	}
}

func TestTwoBrokersOnOneDirectory(t *testing.T) {
	b := start(t, options{})
	_, err := tryStart(t, options{dir: b.dir})
	if err == nil || !strings.Contains(err.Error(), b.dir) || !strings.Contains(err.Error(), "in use by another broker") || !strings.Contains(err.Error(), "--data") {
		t.Errorf("the second broker: %v", err)
	}
	b.put("metaq.put.t", "", "the first one goes on")
}

func TestAnotherBrokersDirectory(t *testing.T) {
	b := start(t, options{flags: map[string]string{"broker-id": "3"}})
	b.create("t", 1)
	b.stop()
	for _, withStamp := range []bool{true, false} {
		if !withStamp {
			remove(t, filepath.Join(b.dir, "broker.json"))
		}
		_, err := tryStart(t, options{dir: b.dir})
		if err == nil || !strings.Contains(err.Error(), "belongs to broker 3, this is broker 0") || !strings.Contains(err.Error(), "--broker-id 3") {
			t.Errorf("with stamp %v: %v", withStamp, err)
		}
	}
	b = start(t, options{dir: b.dir, flags: map[string]string{"broker-id": "3"}})
	b.put("metaq.put.t", "", "the right one starts without its stamp")
}

func remove(t testing.TB, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func TestPortsInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := fmt.Sprint(l.Addr().(*net.TCPAddr).Port)
	dir := t.TempDir()
	for _, tc := range []struct {
		flags map[string]string
		text  string
	}{
		{map[string]string{"nats-port": port}, "--nats-port"},
		{map[string]string{"metrics": "127.0.0.1:" + port}, "--metrics"},
	} {
		_, err := tryStart(t, options{dir: dir, flags: tc.flags})
		if err == nil || !strings.Contains(err.Error(), port) || !strings.Contains(err.Error(), "in use") || !strings.Contains(err.Error(), tc.text) {
			t.Errorf("%v: %v", tc.flags, err)
		}
	}
	start(t, options{dir: dir}) // nothing is left locked
}

func TestADirectoryThatCannotBeUsed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := tryStart(t, options{dir: filepath.Join(file, "data")})
	if err == nil || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), "--data") {
		t.Errorf("below a file: %v", err)
	}
	denied := faultfs.New(1)
	denied.SetHook(func(op faultfs.Op) *faultfs.Fault {
		if op.Kind.Changes() {
			return &faultfs.Fault{Err: os.ErrPermission}
		}
		return nil
	})
	_, err = tryStart(t, options{dir: "/data", with: func(o *broker.Options) { o.FS = denied }})
	if !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), "/data") || !strings.Contains(err.Error(), "writable") {
		t.Errorf("without permission: %v", err)
	}
	full := faultfs.New(1)
	full.SetLimit(1)
	_, err = tryStart(t, options{dir: "/data", with: func(o *broker.Options) { o.FS = full }})
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "/data") || !strings.Contains(err.Error(), "make room") {
		t.Errorf("without room: %v", err)
	}
}

func TestAFullDiskRefusesPutsAndServesGets(t *testing.T) {
	disk := faultfs.New(1)
	b := start(t, options{dir: "/data", with: func(o *broker.Options) { o.FS = disk }})
	b.create("t", 1)
	b.put("metaq.put.t", "", "before")
	disk.SetLimit(disk.Used())
	large := strings.Repeat("x", 1<<20-100)
	full := func() bool {
		answer := b.ask("metaq.put.t.0-0", nil, []byte(large))
		return strings.Contains(string(answer), "10023")
	}
	for range 10 { // what is preallocated may still take some
		if full() {
			break
		}
	}
	if !full() {
		t.Fatal("a full disk takes messages")
	}
	n := len(b.all("t", "0-0"))
	if n < 1 {
		t.Error("a full disk serves no gets")
	}
	disk.SetLimit(0)
	b.put("metaq.put.t.0-0", "", "after")
	if got := values(b.all("t", "0-0")); len(got) != n+1 || got[n] != "after" {
		t.Errorf("%d messages after there was room again, want %d", len(got), n+1)
	}
}

func TestALostRegistryIsMadeAgain(t *testing.T) {
	for _, how := range []string{"removed", "damaged"} {
		t.Run(how, func(t *testing.T) {
			dir := t.TempDir()
			b := start(t, options{dir: dir})
			b.create("a-0-1", 3) // a name that looks like a partition's
			b.put("metaq.put.a-0-1.0-2", "", "kept")
			b.put("metaq.put.b", "k", "kept too")
			var before protocol.TopicInfo
			b.askJSON("metaq.admin.topic.info", `{"topic":"b"}`, &before)
			b.stop()
			paths, err := filepath.Glob(filepath.Join(dir, "registry*"))
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range paths {
				if how == "removed" {
					remove(t, p)
				} else if err := os.WriteFile(p, []byte("not a registry"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			b = start(t, options{dir: dir})
			if d := cmp.Diff([]string{"kept"}, values(b.all("a-0-1", "0-2"))); d != "" {
				t.Error(d)
			}
			if p := b.put("metaq.put.b", "k", "new"); p.Offset != 1 {
				t.Errorf("%+v", p)
			}
			var after protocol.TopicInfo
			b.askJSON("metaq.admin.topic.info", `{"topic":"b"}`, &after)
			for i, p := range after.Partitions {
				if p.Epoch <= before.Partitions[i].Epoch {
					t.Errorf("epoch %d after %d: it went down with the registry", p.Epoch, before.Partitions[i].Epoch)
				}
			}
			b.stop()
			start(t, options{dir: dir}) // and it is a registry like any other now
		})
	}
}

func TestUnknownDataIsSetAside(t *testing.T) {
	b := start(t, options{})
	b.create("t", 1)
	b.put("metaq.put.t", "", "known")
	b.stop()
	for _, name := range []string{"other-0-0", "t-0-1"} {
		if err := os.CopyFS(filepath.Join(b.dir, name), os.DirFS(filepath.Join(b.dir, "t-0-0"))); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(b.dir, "something else"), 0o700); err != nil {
		t.Fatal(err)
	}
	b = start(t, options{dir: b.dir})
	for _, name := range []string{"other-0-0", "t-0-1"} {
		if aside, err := filepath.Glob(filepath.Join(b.dir, name+"*aside*", "*.log")); err != nil || len(aside) == 0 {
			t.Errorf("%s was not set aside with its data: %v %v", name, aside, err)
		}
	}
	if _, err := os.Stat(filepath.Join(b.dir, "something else")); err != nil {
		t.Errorf("what is no partition was touched: %v", err)
	}
	if d := cmp.Diff([]string{"known"}, values(b.all("t", "0-0"))); d != "" {
		t.Error(d)
	}
	var info protocol.TopicInfo
	b.askJSON("metaq.admin.topic.set", `{"topic":"t","partitions":2}`, &info)
	if got := b.all("t", "0-1"); len(got) != 0 {
		t.Errorf("the new partition begins with foreign data: %v", values(got))
	}
}

func TestADeletedTopicsDataGoes(t *testing.T) {
	b := start(t, options{})
	b.create("t", 2)
	b.put("metaq.put.t", "", "x")
	b.ask("metaq.admin.topic.delete", nil, []byte(`{"topic":"t"}`))
	if left, err := filepath.Glob(filepath.Join(b.dir, "t-*")); err != nil || len(left) > 0 {
		t.Errorf("left: %v %v", left, err)
	}
}

// TestATopicIsDeletedUnderLoad wants one answer for each put, whatever happens
// to its partition meanwhile, and no ticket lost.
func TestATopicIsDeletedUnderLoad(t *testing.T) {
	b := start(t, options{flags: map[string]string{"metrics": "127.0.0.1:0", "auto-create-topics": "false"}})
	for range 10 {
		b.create("t", 2)
		for i := range 2000 {
			b.request("metaq.put.t", nil, []byte("x"))
			if i == 1000 {
				b.request("metaq.admin.topic.delete", nil, []byte(`{"topic":"t"}`))
			}
		}
		b.exactlyOnce()
	}
	for _, line := range strings.Split(b.http(t, "/metrics"), "\n") {
		if strings.HasPrefix(line, "metaq_inflight") && !strings.HasSuffix(line, " 0") {
			t.Errorf("a ticket was lost: %s", line)
		}
	}
}

// http gets a path of the metrics server.
func (r *running) http(t testing.TB, path string) string {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + r.MetricsAddr().String() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestMetricsAndReadiness(t *testing.T) {
	b := start(t, options{flags: map[string]string{"metrics": "127.0.0.1:0"}})
	b.put("metaq.put.t", "", "x")
	if got := b.http(t, "/readyz"); got != "ok\n" {
		t.Error(got)
	}
	metrics := b.http(t, "/metrics")
	for _, want := range []string{`metaq_requests_total{op="put"} 1`, "metaq_gateway_dropped_total 0", "go_goroutines"} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no %q in the metrics", want)
		}
	}
	if got := b.http(t, "/debug/pprof/"); !strings.Contains(got, "404") {
		t.Errorf("profiles without being asked for: %.80s", got)
	}
}

func TestStopAnswersWhatIsInFlight(t *testing.T) {
	b := start(t, options{})
	b.create("t", 4)
	for i := range 5000 {
		b.request("metaq.put.t", nil, fmt.Append(nil, i))
	}
	waiting := b.request("metaq.get.t.0-0", nil, []byte(`{"offset":2000,"wait_ms":20000}`))
	if err := b.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- b.Stop(ctx) }()
	acked := 0
	for i := range b.asked {
		if protocol.DecodeError(b.wait(fmt.Sprint(i+1)).Data) == nil {
			acked++
		}
	}
	b.wait(waiting)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	b.nc.Close()
	again := start(t, options{dir: b.dir})
	var list protocol.TopicList
	again.askJSON("metaq.admin.topic.ls", "", &list)
	if n := list.Topics[0].Messages; n < int64(acked-2) {
		t.Errorf("%d messages are there, %d were acknowledged", n, acked-2)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	o := options{}
	cfg := load(t, &o)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	ready := make(chan struct{})
	go func() {
		ended <- broker.Run(ctx, cfg, broker.Options{Logger: logger(t), Now: func() time.Time {
			select {
			case <-ready:
			default:
				close(ready)
			}
			return time.Now()
		}})
	}()
	<-ready
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	start(t, options{dir: o.dir}) // nothing is left locked
}
