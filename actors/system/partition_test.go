package system

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"metaq/actors"
	"metaq/actors/actorstest"
	"metaq/actors/partition"
	"metaq/protocol"
)

var oneTopic = actors.Topic{Name: "t", Partitions: 1}

// startOne is a broker with one topic of one partition, and that one's log.
func startOne(t testing.TB, config ...func(*Deps)) (*rig, *actorstest.Log) {
	t.Helper()
	r, d := newRig(t, oneTopic)
	for _, c := range config {
		c(d)
	}
	r.start(d)
	return r, r.disk.Log(t, "t-0-0")
}

func (r *rig) sendPut(value string) {
	r.send(r.leader("t", 0), actorstest.Together(actors.Put{Record: protocol.Record{Value: []byte(value)}, Ticket: r.tickets.Take()}))
}

func (r *rig) put(value string) any {
	r.t.Helper()
	return r.putTo("t", 0, value)
}

func (r *rig) all() []string {
	r.t.Helper()
	return actorstest.Values(r.t, r.get("t", 0, protocol.GetRequest{}))
}

// What comes while the disk syncs shares the next sync.
func TestOneSyncForAllThatCameMeanwhile(t *testing.T) {
	r, l := startOne(t)
	syncing, goOn := l.StallSyncs()
	r.sendPut("first")
	<-syncing
	const n = 1000
	for i := range n {
		r.sendPut(fmt.Sprint(i))
	}
	if len(r.probe.Got) != 0 {
		t.Fatal("a put was answered before its sync")
	}
	goOn <- true
	<-syncing
	goOn <- true
	for i := range n + 1 {
		if got := actorstest.OffsetOf(t, r.probe.Next(t)); got != protocol.Offset(i) {
			t.Fatalf("answer %d is of offset %d", i, got)
		}
	}
	l.Update(func(l *actorstest.Log) {
		l.BeforeSync = nil
		if l.Syncs != 2 || l.Appends != 2 {
			t.Errorf("%d puts took %d appends and %d syncs, want 2 and 2", n+1, l.Appends, l.Syncs)
		}
	})
}

func TestAFlushIsBounded(t *testing.T) {
	r, l := startOne(t, func(d *Deps) { d.Options.FlushBytes = 10_000 })
	const n = 100
	for range n {
		r.sendPut(strings.Repeat("x", 1000))
	}
	for range n {
		actorstest.OffsetOf(t, r.probe.Next(t))
	}
	l.Update(func(l *actorstest.Log) {
		for _, b := range l.Batches {
			if len(b.Bytes) > 12_000 {
				t.Errorf("a batch of %d bytes, the bound is 10000", len(b.Bytes))
			}
		}
	})
}

func TestBatchesKeepTheirPlaceAmongMessages(t *testing.T) {
	r, _ := startOne(t)
	actorstest.OffsetOf(t, r.put("a"))
	b := actorstest.EncodeBatch(t, protocol.Producer{ID: 7}, 2)
	h, err := protocol.CheckBatch(b, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, duplicate := range []bool{false, true} {
		got := r.ask(r.leader("t", 0), &actors.PutBatch{Batch: b, Header: h, Ticket: r.tickets.Take()})
		want := protocol.PubAck{
			Stream: "t-0-0", Seq: 2, Topic: "t", Offset: 1, Count: 2, Duplicate: duplicate,
		}
		if diff := cmp.Diff(any(want), got); diff != "" {
			t.Fatal(diff)
		}
	}
	actorstest.OffsetOf(t, r.put("b"))
	if diff := cmp.Diff([]string{"a", "7/0/0", "7/0/1", "b"}, r.all()); diff != "" {
		t.Fatal(diff)
	}
}

func TestALogThatKeptNothingRefusesAndServiceReturns(t *testing.T) {
	for name, err := range map[string]*protocol.Error{"the disk is full": protocol.ErrDiskFull, "too many files are open": protocol.ErrUnavailable} {
		t.Run(name, func(t *testing.T) {
			r, l := startOne(t)
			actorstest.OffsetOf(t, r.put("a"))
			l.Update(func(l *actorstest.Log) { l.AppendErr = fmt.Errorf("write: %w", err) })
			actorstest.RequireError(t, r.put("b"), err)
			if diff := cmp.Diff([]string{"a"}, r.all()); diff != "" {
				t.Fatal(diff)
			}
			if got := actorstest.OffsetOf(t, r.put("c")); got != 1 {
				t.Fatalf("offset %d, want 1", got)
			}
		})
	}
}

func TestAFailedLogIsOpenedAgain(t *testing.T) {
	for name, fault := range map[string]func(*actorstest.Log){
		"append": func(l *actorstest.Log) { l.AppendErr = actorstest.ErrDisk },
		"sync":   func(l *actorstest.Log) { l.SyncErr = actorstest.ErrDisk },
	} {
		t.Run(name, func(t *testing.T) {
			r, l := startOne(t)
			actorstest.OffsetOf(t, r.put("a"))
			l.Update(fault)
			if err := actorstest.Refusal(t, r.put("lost"), protocol.ErrPartition); err.Class() != protocol.Retry {
				t.Fatalf("class of %v", err)
			}
			r.wait("the partition serves again", func() bool {
				_, ok := r.put("b").(protocol.PubAck)
				return ok
			})
			if diff := cmp.Diff([]string{"a", "b"}, r.all()); diff != "" {
				t.Fatal(diff)
			}
		})
	}
}

func TestACrashAnswersEverybodyAndStartsAgain(t *testing.T) {
	r, l := startOne(t)
	actorstest.OffsetOf(t, r.put("a"))
	l.Update(func(l *actorstest.Log) { l.PanicNext = true })
	const n = 20
	for range n {
		r.sendPut("lost or later")
	}
	stored := 1
	for range n {
		switch a := r.probe.Next(t).(type) {
		case protocol.PubAck:
			stored++
		case error:
			if protocol.AsError(a).Class() != protocol.Retry || strings.Contains(a.Error(), "\n") {
				t.Fatal(a)
			}
		}
	}
	r.wait("the partition serves again", func() bool {
		_, ok := r.put("b").(protocol.PubAck)
		return ok
	})
	if got := r.all(); len(got) != stored+1 || got[0] != "a" || got[len(got)-1] != "b" {
		t.Fatalf("acknowledged %d, the log holds %q", stored+1, got)
	}
}

// A crash answers the request in hand and the gets that wait, too.
func TestACrashWithABatchInHand(t *testing.T) {
	r, l := startOne(t)
	actorstest.OffsetOf(t, r.put("a"))
	waiter := actorstest.NewProbe(r.env.System)
	r.env.System.Root.RequestWithCustomSender(r.leader("t", 0),
		&actors.Get{Request: protocol.GetRequest{Offset: actorstest.Ptr(protocol.Offset(1)), WaitMs: 30_000}, Ticket: r.tickets.Take()}, waiter.Pid)
	reader := r.env.System.NewLocalPID("broker/topics/t/0-0/reader-1")
	r.ask(reader, &actors.Offsets{Ticket: r.tickets.Take()}) // the get before it is parked now
	l.Update(func(l *actorstest.Log) { l.PanicRead = true })
	b := actorstest.EncodeBatch(t, protocol.Producer{ID: 7}, 1)
	h, err := protocol.CheckBatch(b, 0)
	if err != nil {
		t.Fatal(err)
	}
	actorstest.RequireError(t, r.ask(r.leader("t", 0), &actors.PutBatch{Batch: b, Header: h, Ticket: r.tickets.Take()}), protocol.ErrPartition)
	actorstest.RequireError(t, waiter.Next(t), protocol.ErrUnavailable)
}

// linked makes one message of n puts that are answered here: one, two, three and so on
// lie together.
func (r *rig) linked(n int) *actors.Puts {
	var first *actors.Puts
	next := &first
	for i, size := 0, 1; i < n; size++ {
		var all []actors.Put
		for ; i < n && len(all) < size; i++ {
			value := fmt.Appendf(nil, "%d%s", i, strings.Repeat("x", 2000))
			all = append(all, actors.Put{Record: protocol.Record{Value: value}, Ticket: r.tickets.Take(), From: r.probe.Pid})
		}
		*next = actorstest.Together(all...)
		next = &(*next).Next
	}
	return first
}

// Puts that came together are taken in their order, and each is answered once,
// whatever becomes of the partition.
func TestPutsThatCameTogether(t *testing.T) {
	const n = 20
	t.Run("stored", func(t *testing.T) {
		r, _ := startOne(t)
		r.env.Tell(r.leader("t", 0), r.linked(n))
		for i := range n {
			if got := actorstest.OffsetOf(t, r.probe.Next(t)); got != protocol.Offset(i) {
				t.Fatalf("answer %d is of offset %d", i, got)
			}
		}
		for i, value := range r.all() {
			if want := fmt.Sprintf("%dx", i); !strings.HasPrefix(value, want) {
				t.Errorf("record %d begins with %.5s, want %s", i, value, want)
			}
		}
	})
	t.Run("crash in the middle", func(t *testing.T) {
		r, l := startOne(t, func(d *Deps) { d.Options.FlushBytes = 10_000 })
		l.Update(func(l *actorstest.Log) { l.PanicNext = true })
		r.env.Tell(r.leader("t", 0), r.linked(n))
		for range n {
			actorstest.RequireError(t, r.probe.Next(t), protocol.ErrPartition)
		}
	})
	t.Run("dead letter", func(t *testing.T) {
		r, _ := startOne(t)
		r.env.Tell(r.env.System.NewLocalPID("broker/topics/t/0-9"), r.linked(n))
		for range n {
			actorstest.RequireError(t, r.probe.Next(t), protocol.ErrUnavailable)
		}
	})
}

// What is in the mailbox of an actor that is stopped is answered.
func TestNothingIsDroppedByAStop(t *testing.T) {
	r, l := startOne(t)
	writing, goOn := make(chan bool), make(chan bool)
	l.Update(func(l *actorstest.Log) {
		l.BeforeAppend = func() {
			writing <- true
			<-goOn
		}
	})
	r.sendPut("a")
	<-writing
	const n = 10
	for range n {
		r.sendPut("never")
	}
	r.env.System.Root.Stop(r.leader("t", 0)) // overtakes them
	goOn <- true
	l.Update(func(l *actorstest.Log) { l.BeforeAppend = nil })
	actorstest.OffsetOf(t, r.probe.Next(t))
	for range n {
		actorstest.RequireError(t, r.probe.Next(t), protocol.ErrUnavailable)
	}
}

// A reader that says that it is idle is kept when it was given work meanwhile.
func TestABusyReaderIsKept(t *testing.T) {
	r, _ := startOne(t)
	r.all()
	r.all()
	r.env.Tell(r.leader("t", 0), partition.ReaderIdle{Gets: 1})
	r.all()
	// A new one would have the number of the get that it was spawned for.
	if _, ok := r.env.System.ProcessRegistry.GetLocal("broker/topics/t/0-0/reader-3"); ok {
		t.Fatal("the reader was stopped")
	}
}

func TestRequestsWhileItOpensAreAnswered(t *testing.T) {
	r, d := newRig(t, oneTopic)
	r.disk.Blocked = make(chan struct{})
	started := make(chan bool)
	go func() {
		defer close(started)
		r.start(d)
	}()
	r.System = &System{env: &actors.Env{System: d.System}} // to send with, until Start returns
	r.wait("a route", func() bool { routes := r.routes.Load(); return routes != nil && routes.Topics["t"] != nil })
	actorstest.RequireError(t, r.put("a"), protocol.ErrUnavailable)
	actorstest.RequireError(t, r.get("t", 0, protocol.GetRequest{}), protocol.ErrUnavailable)
	actorstest.RequireError(t, r.ask(r.leader("t", 0), &actors.Offsets{Ticket: r.tickets.Take()}), protocol.ErrUnavailable)
	close(r.disk.Blocked)
	<-started
	actorstest.OffsetOf(t, r.put("a"))
}

func TestDamageStopsOnePartitionOnly(t *testing.T) {
	damage := fmt.Errorf("t-0-1/00.log at 4711: %w", protocol.ErrBadBatch)
	t.Run("found when it opens", func(t *testing.T) {
		r, d := newRig(t, actors.Topic{Name: "t", Partitions: 2})
		r.disk.SetFail("t-0-1", damage)
		r.start(d)
		actorstest.OffsetOf(t, r.put("a"))
		actorstest.RequireError(t, r.putTo("t", 1, "b"), protocol.ErrPartition)
		info := r.admin(actors.DescribeTopic{Topic: "t"}).(protocol.TopicInfo)
		if p := info.Partitions[1]; p.Error != damage.Error() || p.Leader != -1 {
			t.Fatalf("%+v", p)
		}
		cluster := r.ask(r.env.System.NewLocalPID(actors.BrokerActor), actors.DescribeCluster{}).(protocol.ClusterInfo)
		want := []protocol.FailedPartition{{Topic: "t", Partition: protocol.PartitionID{N: 1}, Error: damage.Error()}}
		if diff := cmp.Diff(want, cluster.Failed); diff != "" {
			t.Fatal(diff)
		}
		if r.disk.Opens != 2 {
			t.Fatalf("%d opens: a damaged log is opened once", r.disk.Opens)
		}
	})
	t.Run("found by a read", func(t *testing.T) {
		r, d := newRig(t, actors.Topic{Name: "t", Partitions: 2})
		r.start(d)
		actorstest.OffsetOf(t, r.putTo("t", 1, "b"))
		r.disk.Log(t, "t-0-1").Update(func(l *actorstest.Log) { l.ReadErr = damage })
		err := actorstest.Refusal(t, r.get("t", 1, protocol.GetRequest{}), protocol.ErrPartition)
		if !strings.Contains(err.Description, "t-0-1/00.log at 4711") {
			t.Fatal(err)
		}
		r.wait("puts are refused", func() bool {
			refused, ok := r.putTo("t", 1, "c").(error)
			return ok && errors.Is(refused, protocol.ErrPartition)
		})
		actorstest.OffsetOf(t, r.put("a"))
	})
	t.Run("a file that cannot be opened now is asked for again", func(t *testing.T) {
		r, l := startOne(t)
		actorstest.OffsetOf(t, r.put("a"))
		l.Update(func(l *actorstest.Log) { l.ReadErr = fmt.Errorf("open: %w", protocol.ErrUnavailable) })
		actorstest.RequireError(t, r.get("t", 0, protocol.GetRequest{}), protocol.ErrUnavailable)
		if diff := cmp.Diff([]string{"a"}, r.all()); diff != "" {
			t.Fatal(diff)
		}
	})
	t.Run("another read error passes", func(t *testing.T) {
		r, l := startOne(t)
		actorstest.OffsetOf(t, r.put("a"))
		l.Update(func(l *actorstest.Log) { l.ReadErr = errors.New("an error of the disk") })
		actorstest.RequireError(t, r.get("t", 0, protocol.GetRequest{}), protocol.ErrPartition)
		if diff := cmp.Diff([]string{"a"}, r.all()); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestOpeningIsTriedAgain(t *testing.T) {
	actorstest.Bubble(t, func(t *testing.T) {
		r, d := newRig(t, oneTopic)
		r.disk.SetFail("t-0-0", actorstest.ErrDisk)
		d.Options.Retry, d.Options.MaxRetry = time.Second, 4*time.Second
		r.start(d) // it is ready although one partition is not
		err := actorstest.Refusal(t, r.put("a"), protocol.ErrPartition)
		if !strings.Contains(err.Description, actorstest.ErrDisk.Error()) {
			t.Fatal(err)
		}
		time.Sleep(time.Minute) //nolint:forbidigo // the bubble's clock
		synctest.Wait()
		if n := r.disk.Opens; n < 10 || n > 20 {
			t.Fatalf("%d opens within a minute, want one every 4 s at last", n)
		}
		r.disk.SetFail("t-0-0", nil)
		time.Sleep(4 * time.Second) //nolint:forbidigo // the bubble's clock
		synctest.Wait()
		actorstest.OffsetOf(t, r.put("a"))
	})
}

func TestARelaxedPolicySyncsByCountAndByTime(t *testing.T) {
	actorstest.Bubble(t, func(t *testing.T) {
		r, d := newRig(t, oneTopic)
		d.Resolve = func(string, protocol.TopicConfig) (actors.Settings, error) {
			return actors.Settings{UnflushThreshold: 3, UnflushInterval: 10 * time.Second}, nil
		}
		r.start(d)
		l := r.disk.Log(t, "t-0-0")
		syncs := func() (n int) {
			l.Update(func(l *actorstest.Log) { n = l.Syncs })
			return n
		}
		for i, want := range []int{0, 0, 1, 1} {
			actorstest.OffsetOf(t, r.put("x"))
			synctest.Wait()
			if got := syncs(); got != want {
				t.Fatalf("%d syncs after put %d, want %d", got, i+1, want)
			}
		}
		if diff := cmp.Diff([]string{"x", "x", "x", "x"}, r.all()); diff != "" {
			t.Fatal(diff) // what is acknowledged can be read
		}
		time.Sleep(10 * time.Second) //nolint:forbidigo // the bubble's clock
		synctest.Wait()
		if got := syncs(); got != 2 {
			t.Fatalf("%d syncs after the interval, want 2", got)
		}
		time.Sleep(time.Minute) //nolint:forbidigo // the bubble's clock
		synctest.Wait()
		if got := syncs(); got != 2 {
			t.Fatalf("%d syncs although nothing was written", got)
		}
	})
}

func TestAnIdlePartitionGivesUpWhatItHolds(t *testing.T) {
	actorstest.Bubble(t, func(t *testing.T) {
		r, d := newRig(t, oneTopic)
		d.Options.Sweep = time.Minute
		r.start(d)
		actorstest.OffsetOf(t, r.put("a"))
		r.all()
		actors := func() (n int) {
			for _, bucket := range r.env.System.ProcessRegistry.LocalPIDs.LocalPIDs {
				for _, id := range bucket.Keys() {
					if strings.Contains(id, "/reader-") {
						n++
					}
				}
			}
			return n
		}
		if actors() != 1 {
			t.Fatal("no reader after a get")
		}
		time.Sleep(3 * time.Minute) //nolint:forbidigo // the bubble's clock
		synctest.Wait()
		if n := actors(); n != 0 {
			t.Fatalf("%d readers are idle and there", n)
		}
		l := r.disk.Log(t, "t-0-0")
		l.Update(func(l *actorstest.Log) {
			if l.Parks != 1 {
				t.Errorf("parked %d times, want once while idle", l.Parks)
			}
		})
		actorstest.OffsetOf(t, r.put("b"))
		if diff := cmp.Diff([]string{"a", "b"}, r.all()); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestEpochs(t *testing.T) {
	t.Run("above what the log knows", func(t *testing.T) {
		r, d := newRig(t, oneTopic)
		r.disk.Logs["t-0-0"] = &actorstest.Log{Epoch: 41}
		r.start(d)
		if l := r.disk.Log(t, "t-0-0"); l.LastEpoch() != 42 {
			t.Fatalf("epoch %d, want 42", l.LastEpoch())
		}
	})
	t.Run("a failed claim is made again", func(t *testing.T) {
		r, d := newRig(t, oneTopic)
		r.registry.SetFail("claim t", actorstest.ErrDisk)
		go func() {
			actorstest.WaitFor(t, "three claims", func() bool {
				n := 0
				for _, c := range r.registry.Story() {
					if c == "claim t" {
						n++
					}
				}
				return n >= 3
			})
			r.registry.SetFail("claim t", nil)
		}()
		r.start(d)
		actorstest.OffsetOf(t, r.put("a"))
	})
	t.Run("a full disk keeps no epoch, so it takes no puts", func(t *testing.T) {
		r, d := newRig(t, oneTopic)
		full := protocol.ErrDiskFull.With("write epoch: no space")
		l := &actorstest.Log{EpochErr: full}
		r.disk.Logs["t-0-0"] = l
		r.start(d)
		l.Update(func(l *actorstest.Log) { l.EpochErr = full })
		actorstest.RequireError(t, r.put("a"), protocol.ErrDiskFull)
		if got := r.all(); len(got) != 0 {
			t.Fatal(got)
		}
		actorstest.OffsetOf(t, r.put("b"))
		if l.LastEpoch() != 1 {
			t.Fatalf("epoch %d, want 1", l.LastEpoch())
		}
	})
	t.Run("an epoch that cannot be written", func(t *testing.T) {
		r, d := newRig(t, oneTopic)
		r.disk.Logs["t-0-0"] = &actorstest.Log{EpochErr: actorstest.ErrDisk}
		r.start(d)
		r.wait("the partition serves", func() bool {
			_, ok := r.put("b").(protocol.PubAck)
			return ok
		})
	})
}

func TestStopCommitsWhatIsHeld(t *testing.T) {
	r, l := startOne(t)
	const n = 500
	for range n {
		r.sendPut("x")
	}
	if err := r.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range n {
		actorstest.OffsetOf(t, r.probe.Next(t))
	}
	if l.Next() != n {
		t.Fatalf("the log ends at %d, want %d", l.Next(), n)
	}
}
