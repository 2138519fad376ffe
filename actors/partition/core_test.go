package partition

import (
	"fmt"
	"iter"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"metaq/actors"
	"metaq/actors/actorstest"
	"metaq/protocol"
)

// coreScript runs a partition core by commands:
//
//	put ASKER SIZE             batch ASKER [producer=ID/EPOCH] [seq=N] [n=N]
//	flush | force              done ok|full|failed|unsynced
//	timer GENERATION           threshold N               reopen [lost]
//	expire OFFSET              state
//
// Work that is to be done begins at once and ends with the command done.
type coreScript struct {
	t    *testing.T
	core *core
	log  *actorstest.Log
	now  time.Time
	work work
}

func newCoreScript(t *testing.T) func(string, []string) string {
	opts := actors.Options{FlushBytes: 1000, FlushCount: 6, MaxProducers: 3}.WithDefaults()
	s := &coreScript{
		t: t, log: &actorstest.Log{Epoch: 3}, now: time.UnixMilli(1000),
		core: newCore("orders", protocol.PartitionID{N: 3}, opts),
	}
	s.open()
	return s.run
}

func (s *coreScript) open() {
	if err := s.log.Open(); err != nil {
		s.t.Fatal(err)
	}
	s.core.open(s.log, 3)
}

func (s *coreScript) run(cmd string, args []string) string {
	s.now = s.now.Add(time.Millisecond)
	switch cmd {
	case "put":
		size, err := strconv.Atoi(args[1])
		if err != nil {
			s.t.Fatal(err)
		}
		return s.put(strings.Split(args[0], ","), size)
	case "batch":
		return s.batch(args)
	case "flush", "force":
		w, again := s.core.flush(s.now, cmd == "force")
		switch {
		case again:
			return "flush again\n"
		case w.bytes == nil:
			return "nothing to write\n"
		}
		return s.begin(w)
	case "done":
		return s.done(args[0])
	case "timer":
		if n, _ := strconv.ParseUint(args[0], 10, 64); !s.core.syncDue(n) {
			return "nothing to sync\n"
		}
		return s.begin(s.core.syncNow())
	case "threshold":
		n, _ := strconv.Atoi(args[0])
		if s.core.configure(actors.Settings{UnflushThreshold: n}) {
			return s.begin(s.core.syncNow())
		}
		return "ok\n"
	case "reopen":
		s.log.Update(func(l *actorstest.Log) { l.KeepUnsynced = len(args) == 0 })
		if err := s.log.Close(); err != nil {
			s.t.Fatal(err)
		}
		s.open()
		return s.state()
	case "expire":
		n, _ := strconv.Atoi(args[0])
		s.core.producers.expire(protocol.Offset(n))
		return "ok\n"
	case "state":
		return s.state()
	}
	s.t.Fatalf("unknown command %s", cmd)
	return ""
}

// put puts messages together, one for each name.
func (s *coreScript) put(names []string, size int) string {
	all := make([]actors.Put, len(names))
	for i, name := range names {
		all[i] = actors.Put{Record: protocol.Record{Value: make([]byte, size)}, From: actor.NewPID("", name)}
	}
	var out strings.Builder
	for len(all) > 0 {
		n, v := s.core.put(all, nil)
		out.WriteString(s.verdict(v))
		all = all[n:]
	}
	return out.String()
}

func (s *coreScript) batch(args []string) string {
	p, n := protocol.Producer{ID: protocol.NoProducer}, 1
	for _, a := range args[1:] {
		key, value, _ := strings.Cut(a, "=")
		id, epoch, _ := strings.Cut(value, "/")
		i, _ := strconv.Atoi(id)
		e, _ := strconv.Atoi(epoch)
		switch key {
		case "producer":
			p.ID, p.Epoch = int64(i), int16(e)
		case "seq":
			p.Sequence = int32(i)
		case "n":
			n = i
		}
	}
	b := actorstest.EncodeBatch(s.t, p, n)
	h, err := protocol.CheckBatch(b, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	if s.core.mustLearn(&h) {
		if err := s.core.learn(logTail(s.log, s.core.written, 1<<20)); err != nil {
			s.t.Fatal(err)
		}
	}
	return s.verdict(s.core.putBatch(&actors.PutBatch{Batch: b, Header: h}, actor.NewPID("", args[0]), 0))
}

func (s *coreScript) begin(w work) string {
	s.work = w
	var out strings.Builder
	if w.bytes != nil {
		out.WriteString("write " + describeBatches(s.t, w.bytes) + "\n")
	}
	if w.sync {
		out.WriteString("sync\n")
	}
	return out.String()
}

func (s *coreScript) done(how string) string {
	if !s.core.busy {
		s.t.Fatal("nothing is done")
	}
	w := s.work
	s.log.Update(func(l *actorstest.Log) {
		l.AppendErr = map[string]error{"full": protocol.ErrDiskFull, "failed": actorstest.ErrDisk}[how]
		l.SyncErr = map[string]error{"unsynced": actorstest.ErrDisk}[how]
	})
	var err error
	if w.bytes != nil {
		err = s.log.Append(w.bytes, w.around)
	}
	if w.sync && err == nil {
		err = s.log.Sync()
	}
	if (err == nil) != (how == "ok") {
		s.t.Fatalf("%s: %v", how, err)
	}
	return s.outcome(s.core.worked(err, s.log.Lead()))
}

func (s *coreScript) state() string {
	c := s.core
	return fmt.Sprintf("%s: next %d, written %d, synced %d, committed %d\n", c.state, c.next, c.written, c.synced, c.committed)
}

func (s *coreScript) verdict(v verdict) string {
	switch {
	case v.err != nil:
		return fmt.Sprintf("refused %s: %v\n", names(&v.w), v.err)
	case v.done:
		return answerLine(&v.w, nil)
	}
	out := fmt.Sprintf("accepted %s: %d", names(&v.w), v.w.first)
	if v.w.duplicate {
		out += ", duplicate"
	}
	if v.flush {
		out += ", flush"
	}
	if v.full {
		out += ", full"
	}
	return out + "\n"
}

func (s *coreScript) outcome(o outcome) string {
	var out strings.Builder
	for i := range o.answer {
		out.WriteString(answerLine(&o.answer[i], o.err))
	}
	if o.flush {
		out.WriteString("flush at once\n")
	}
	if o.arm {
		fmt.Fprintf(&out, "arm timer %d\n", s.core.timer)
	}
	if o.sync {
		out.WriteString(s.begin(s.core.syncNow()))
	}
	if o.poisoned {
		out.WriteString("open again\n")
	}
	return out.String() + s.state()
}

func answerLine(w *waiting, err error) string {
	switch {
	case err != nil:
		return fmt.Sprintf("refuse %s: %v\n", names(w), err)
	case w.duplicate:
		return fmt.Sprintf("acknowledge %s: %d, duplicate\n", names(w), w.first)
	}
	return fmt.Sprintf("acknowledge %s: %d\n", names(w), w.first)
}

// names are those of who waits.
func names(w *waiting) string {
	var all []string
	for i := range w.requests() {
		all = append(all, w.asker(i).Id)
	}
	return strings.Join(all, ",")
}

func describeBatches(t actorstest.Fataler, b []byte) string {
	t.Helper()
	var out []string
	for h := range headers(t, b) {
		out = append(out, fmt.Sprintf("%d..%d (time %d, position %d, epoch %d, unsynced %d)",
			h.Base, h.Next()-1, h.MaxTime, h.Position, h.Epoch, h.Unsynced))
	}
	return strings.Join(out, " ")
}

func headers(t actorstest.Fataler, b []byte) iter.Seq[protocol.BatchHeader] {
	return func(yield func(protocol.BatchHeader) bool) {
		for len(b) > 0 {
			h, err := protocol.CheckBatch(b, 0)
			if err != nil {
				t.Fatal(err)
			}
			if !yield(h) {
				return
			}
			b = b[h.Length:]
		}
	}
}

func TestPartitionCore(t *testing.T) { actorstest.RunScripts(t, "partition", newCoreScript) }
