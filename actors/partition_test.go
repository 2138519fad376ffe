package actors

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"metaq/protocol"
)

var oneTopic = Topic{Name: "t", Partitions: 1}

// startOne is a broker with one topic of one partition, and that one's log.
func startOne(t testing.TB, config ...func(*Deps)) (*rig, *fakeLog) {
	t.Helper()
	r, d := newRig(t, oneTopic)
	for _, c := range config {
		c(d)
	}
	r.start(d)
	return r, r.disk.log(t, "t-0-0")
}

func (r *rig) sendPut(value string) {
	r.send(r.leader("t", 0), together(Put{Record: protocol.Record{Value: []byte(value)}, Ticket: r.tickets.take()}))
}

func (r *rig) put(value string) any {
	r.t.Helper()
	return r.putTo("t", 0, value)
}

func (r *rig) all() []string {
	r.t.Helper()
	return values(r.t, r.get("t", 0, protocol.GetRequest{}))
}

// What comes while the disk syncs shares the next sync.
func TestOneSyncForAllThatCameMeanwhile(t *testing.T) {
	r, l := startOne(t)
	syncing, goOn := l.stallSyncs()
	r.sendPut("first")
	<-syncing
	const n = 1000
	for i := range n {
		r.sendPut(fmt.Sprint(i))
	}
	if len(r.probe.got) != 0 {
		t.Fatal("a put was answered before its sync")
	}
	goOn <- true
	<-syncing
	goOn <- true
	for i := range n + 1 {
		if got := offsetOf(t, r.probe.next(t)); got != protocol.Offset(i) {
			t.Fatalf("answer %d is of offset %d", i, got)
		}
	}
	l.update(func(l *fakeLog) {
		l.beforeSync = nil
		if l.syncs != 2 || l.appends != 2 {
			t.Errorf("%d puts took %d appends and %d syncs, want 2 and 2", n+1, l.appends, l.syncs)
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
		offsetOf(t, r.probe.next(t))
	}
	l.update(func(l *fakeLog) {
		for _, b := range l.batches {
			if len(b.bytes) > 12_000 {
				t.Errorf("a batch of %d bytes, the bound is 10000", len(b.bytes))
			}
		}
	})
}

func TestBatchesKeepTheirPlaceAmongMessages(t *testing.T) {
	r, _ := startOne(t)
	offsetOf(t, r.put("a"))
	b := encodeBatch(t, protocol.Producer{ID: 7}, 2)
	h, err := protocol.CheckBatch(b, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, duplicate := range []bool{false, true} {
		got := r.ask(r.leader("t", 0), &PutBatch{Batch: b, Header: h, Ticket: r.tickets.take()})
		want := protocol.PubAck{
			Stream: "t-0-0", Seq: 2, Topic: "t", Offset: 1, Count: 2, Duplicate: duplicate,
		}
		if diff := cmp.Diff(any(want), got); diff != "" {
			t.Fatal(diff)
		}
	}
	offsetOf(t, r.put("b"))
	if diff := cmp.Diff([]string{"a", "7/0/0", "7/0/1", "b"}, r.all()); diff != "" {
		t.Fatal(diff)
	}
}

func TestALogThatKeptNothingRefusesAndServiceReturns(t *testing.T) {
	for name, err := range map[string]*protocol.Error{"the disk is full": protocol.ErrDiskFull, "too many files are open": protocol.ErrUnavailable} {
		t.Run(name, func(t *testing.T) {
			r, l := startOne(t)
			offsetOf(t, r.put("a"))
			l.update(func(l *fakeLog) { l.appendErr = fmt.Errorf("write: %w", err) })
			requireError(t, r.put("b"), err)
			if diff := cmp.Diff([]string{"a"}, r.all()); diff != "" {
				t.Fatal(diff)
			}
			if got := offsetOf(t, r.put("c")); got != 1 {
				t.Fatalf("offset %d, want 1", got)
			}
		})
	}
}

func TestAFailedLogIsOpenedAgain(t *testing.T) {
	for name, fault := range map[string]func(*fakeLog){
		"append": func(l *fakeLog) { l.appendErr = errDisk },
		"sync":   func(l *fakeLog) { l.syncErr = errDisk },
	} {
		t.Run(name, func(t *testing.T) {
			r, l := startOne(t)
			offsetOf(t, r.put("a"))
			l.update(fault)
			if err := refusal(t, r.put("lost"), protocol.ErrPartition); err.Class() != protocol.Retry {
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
	offsetOf(t, r.put("a"))
	l.update(func(l *fakeLog) { l.panicNext = true })
	const n = 20
	for range n {
		r.sendPut("lost or later")
	}
	stored := 1
	for range n {
		switch a := r.probe.next(t).(type) {
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
	offsetOf(t, r.put("a"))
	waiter := newProbe(r.env.system)
	r.env.system.Root.RequestWithCustomSender(r.leader("t", 0),
		&Get{Request: protocol.GetRequest{Offset: ptr(protocol.Offset(1)), WaitMs: 30_000}, Ticket: r.tickets.take()}, waiter.pid)
	reader := r.env.system.NewLocalPID("broker/topics/t/0-0/reader-1")
	r.ask(reader, &Offsets{Ticket: r.tickets.take()}) // the get before it is parked now
	l.update(func(l *fakeLog) { l.panicRead = true })
	b := encodeBatch(t, protocol.Producer{ID: 7}, 1)
	h, err := protocol.CheckBatch(b, 0)
	if err != nil {
		t.Fatal(err)
	}
	requireError(t, r.ask(r.leader("t", 0), &PutBatch{Batch: b, Header: h, Ticket: r.tickets.take()}), protocol.ErrPartition)
	requireError(t, waiter.next(t), protocol.ErrUnavailable)
}

// linked makes one message of n puts that are answered here: one, two, three and so on
// lie together.
func (r *rig) linked(n int) *Puts {
	var first *Puts
	next := &first
	for i, size := 0, 1; i < n; size++ {
		var all []Put
		for ; i < n && len(all) < size; i++ {
			value := fmt.Appendf(nil, "%d%s", i, strings.Repeat("x", 2000))
			all = append(all, Put{Record: protocol.Record{Value: value}, Ticket: r.tickets.take(), From: r.probe.pid})
		}
		*next = together(all...)
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
		r.env.tell(r.leader("t", 0), r.linked(n))
		for i := range n {
			if got := offsetOf(t, r.probe.next(t)); got != protocol.Offset(i) {
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
		l.update(func(l *fakeLog) { l.panicNext = true })
		r.env.tell(r.leader("t", 0), r.linked(n))
		for range n {
			requireError(t, r.probe.next(t), protocol.ErrPartition)
		}
	})
	t.Run("dead letter", func(t *testing.T) {
		r, _ := startOne(t)
		r.env.tell(r.env.system.NewLocalPID("broker/topics/t/0-9"), r.linked(n))
		for range n {
			requireError(t, r.probe.next(t), protocol.ErrUnavailable)
		}
	})
}

// What is in the mailbox of an actor that is stopped is answered.
func TestNothingIsDroppedByAStop(t *testing.T) {
	r, l := startOne(t)
	writing, goOn := make(chan bool), make(chan bool)
	l.update(func(l *fakeLog) {
		l.beforeAppend = func() {
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
	r.env.system.Root.Stop(r.leader("t", 0)) // overtakes them
	goOn <- true
	l.update(func(l *fakeLog) { l.beforeAppend = nil })
	offsetOf(t, r.probe.next(t))
	for range n {
		requireError(t, r.probe.next(t), protocol.ErrUnavailable)
	}
}

// A reader that says that it is idle is kept when it was given work meanwhile.
func TestABusyReaderIsKept(t *testing.T) {
	r, _ := startOne(t)
	r.all()
	r.all()
	r.env.tell(r.leader("t", 0), readerIdle{gets: 1})
	r.all()
	// A new one would have the number of the get that it was spawned for.
	if _, ok := r.env.system.ProcessRegistry.GetLocal("broker/topics/t/0-0/reader-3"); ok {
		t.Fatal("the reader was stopped")
	}
}

func TestRequestsWhileItOpensAreAnswered(t *testing.T) {
	r, d := newRig(t, oneTopic)
	r.disk.blocked = make(chan struct{})
	started := make(chan bool)
	go func() {
		defer close(started)
		r.start(d)
	}()
	r.System = &System{env: &env{system: d.System}} // to send with, until Start returns
	r.wait("a route", func() bool { routes := r.routes.Load(); return routes != nil && routes.Topics["t"] != nil })
	requireError(t, r.put("a"), protocol.ErrUnavailable)
	requireError(t, r.get("t", 0, protocol.GetRequest{}), protocol.ErrUnavailable)
	requireError(t, r.ask(r.leader("t", 0), &Offsets{Ticket: r.tickets.take()}), protocol.ErrUnavailable)
	close(r.disk.blocked)
	<-started
	offsetOf(t, r.put("a"))
}

func TestDamageStopsOnePartitionOnly(t *testing.T) {
	damage := fmt.Errorf("t-0-1/00.log at 4711: %w", protocol.ErrBadBatch)
	t.Run("found when it opens", func(t *testing.T) {
		r, d := newRig(t, Topic{Name: "t", Partitions: 2})
		r.disk.setFail("t-0-1", damage)
		r.start(d)
		offsetOf(t, r.put("a"))
		requireError(t, r.putTo("t", 1, "b"), protocol.ErrPartition)
		info := r.admin(DescribeTopic{"t"}).(protocol.TopicInfo)
		if p := info.Partitions[1]; p.Error != damage.Error() || p.Leader != -1 {
			t.Fatalf("%+v", p)
		}
		cluster := r.ask(r.env.system.NewLocalPID(BrokerActor), DescribeCluster{}).(protocol.ClusterInfo)
		want := []protocol.FailedPartition{{Topic: "t", Partition: protocol.PartitionID{N: 1}, Error: damage.Error()}}
		if diff := cmp.Diff(want, cluster.Failed); diff != "" {
			t.Fatal(diff)
		}
		if r.disk.opens != 2 {
			t.Fatalf("%d opens: a damaged log is opened once", r.disk.opens)
		}
	})
	t.Run("found by a read", func(t *testing.T) {
		r, d := newRig(t, Topic{Name: "t", Partitions: 2})
		r.start(d)
		offsetOf(t, r.putTo("t", 1, "b"))
		r.disk.log(t, "t-0-1").update(func(l *fakeLog) { l.readErr = damage })
		err := refusal(t, r.get("t", 1, protocol.GetRequest{}), protocol.ErrPartition)
		if !strings.Contains(err.Description, "t-0-1/00.log at 4711") {
			t.Fatal(err)
		}
		r.wait("puts are refused", func() bool {
			refused, ok := r.putTo("t", 1, "c").(error)
			return ok && errors.Is(refused, protocol.ErrPartition)
		})
		offsetOf(t, r.put("a"))
	})
	t.Run("a file that cannot be opened now is asked for again", func(t *testing.T) {
		r, l := startOne(t)
		offsetOf(t, r.put("a"))
		l.update(func(l *fakeLog) { l.readErr = fmt.Errorf("open: %w", protocol.ErrUnavailable) })
		requireError(t, r.get("t", 0, protocol.GetRequest{}), protocol.ErrUnavailable)
		if diff := cmp.Diff([]string{"a"}, r.all()); diff != "" {
			t.Fatal(diff)
		}
	})
	t.Run("another read error passes", func(t *testing.T) {
		r, l := startOne(t)
		offsetOf(t, r.put("a"))
		l.update(func(l *fakeLog) { l.readErr = errors.New("an error of the disk") })
		requireError(t, r.get("t", 0, protocol.GetRequest{}), protocol.ErrPartition)
		if diff := cmp.Diff([]string{"a"}, r.all()); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestOpeningIsTriedAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, d := newRig(t, oneTopic)
		r.disk.setFail("t-0-0", errDisk)
		d.Options.Retry, d.Options.MaxRetry = time.Second, 4*time.Second
		r.start(d) // it is ready although one partition is not
		err := refusal(t, r.put("a"), protocol.ErrPartition)
		if !strings.Contains(err.Description, errDisk.Error()) {
			t.Fatal(err)
		}
		time.Sleep(time.Minute) //nolint:forbidigo // the bubble's clock
		synctest.Wait()
		if n := r.disk.opens; n < 10 || n > 20 {
			t.Fatalf("%d opens within a minute, want one every 4 s at last", n)
		}
		r.disk.setFail("t-0-0", nil)
		time.Sleep(4 * time.Second) //nolint:forbidigo // the bubble's clock
		synctest.Wait()
		offsetOf(t, r.put("a"))
	})
}

func TestARelaxedPolicySyncsByCountAndByTime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, d := newRig(t, oneTopic)
		d.Resolve = func(string, protocol.TopicConfig) (Settings, error) {
			return Settings{UnflushThreshold: 3, UnflushInterval: 10 * time.Second}, nil
		}
		r.start(d)
		l := r.disk.log(t, "t-0-0")
		syncs := func() (n int) {
			l.update(func(l *fakeLog) { n = l.syncs })
			return n
		}
		for i, want := range []int{0, 0, 1, 1} {
			offsetOf(t, r.put("x"))
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
	bubble(t, func(t *testing.T) {
		r, d := newRig(t, oneTopic)
		d.Options.Sweep = time.Minute
		r.start(d)
		offsetOf(t, r.put("a"))
		r.all()
		actors := func() (n int) {
			for _, bucket := range r.env.system.ProcessRegistry.LocalPIDs.LocalPIDs {
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
		l := r.disk.log(t, "t-0-0")
		l.update(func(l *fakeLog) {
			if l.parks != 1 {
				t.Errorf("parked %d times, want once while idle", l.parks)
			}
		})
		offsetOf(t, r.put("b"))
		if diff := cmp.Diff([]string{"a", "b"}, r.all()); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestEpochs(t *testing.T) {
	t.Run("above what the log knows", func(t *testing.T) {
		r, d := newRig(t, oneTopic)
		r.disk.logs["t-0-0"] = &fakeLog{epoch: 41}
		r.start(d)
		if l := r.disk.log(t, "t-0-0"); l.LastEpoch() != 42 {
			t.Fatalf("epoch %d, want 42", l.LastEpoch())
		}
	})
	t.Run("a failed claim is made again", func(t *testing.T) {
		r, d := newRig(t, oneTopic)
		r.registry.setFail("claim t", errDisk)
		go func() {
			waitFor(t, "three claims", func() bool {
				n := 0
				for _, c := range r.registry.story() {
					if c == "claim t" {
						n++
					}
				}
				return n >= 3
			})
			r.registry.setFail("claim t", nil)
		}()
		r.start(d)
		offsetOf(t, r.put("a"))
	})
	t.Run("a full disk keeps no epoch, so it takes no puts", func(t *testing.T) {
		r, d := newRig(t, oneTopic)
		full := protocol.ErrDiskFull.With("write epoch: no space")
		l := &fakeLog{epochErr: full}
		r.disk.logs["t-0-0"] = l
		r.start(d)
		l.update(func(l *fakeLog) { l.epochErr = full })
		requireError(t, r.put("a"), protocol.ErrDiskFull)
		if got := r.all(); len(got) != 0 {
			t.Fatal(got)
		}
		offsetOf(t, r.put("b"))
		if l.LastEpoch() != 1 {
			t.Fatalf("epoch %d, want 1", l.LastEpoch())
		}
	})
	t.Run("an epoch that cannot be written", func(t *testing.T) {
		r, d := newRig(t, oneTopic)
		r.disk.logs["t-0-0"] = &fakeLog{epochErr: errDisk}
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
		offsetOf(t, r.probe.next(t))
	}
	if l.Next() != n {
		t.Fatalf("the log ends at %d, want %d", l.Next(), n)
	}
}
