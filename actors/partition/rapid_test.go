package partition

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"pgregory.net/rapid"

	"metaq/actors"
	"metaq/actors/actorstest"
	"metaq/protocol"
)

// coreMachine drives a partition core over a log that fails at random, with
// plain puts and with two idempotent producers, and judges it from outside. Each
// producer has five batches on their way, which arrive in any order and as often
// as they like until they are acknowledged.
type coreMachine struct {
	t         *rapid.T
	core      *core
	log       *actorstest.Log
	now       time.Time
	flush     bool // a flush message is in the mailbox
	work      work // that is done
	relaxed   bool
	asked     int
	open      map[string]string          // asker -> value, of those not answered
	acked     map[protocol.Offset]string // first offset -> value
	lastAck   protocol.Offset
	producers [2]int32        // sequence of the oldest batch that each is sending
	stored    map[string]bool // batches that were acknowledged
}

func (m *coreMachine) put() {
	all := make([]actors.Put, rapid.IntRange(1, 5).Draw(m.t, "together"))
	for i := range all {
		value := fmt.Sprintf("v%d", m.asked)
		all[i] = actors.Put{Record: protocol.Record{Value: []byte(value)}, From: m.asker(value)}
	}
	for len(all) > 0 {
		n, v := m.core.put(all, nil)
		m.verdict(v)
		all = all[n:]
	}
}

func (m *coreMachine) batch() {
	id := rapid.IntRange(0, 1).Draw(m.t, "producer")
	later := rapid.Int32Range(0, recentBatches-1).Draw(m.t, "later")
	p := protocol.Producer{ID: int64(id), Sequence: m.producers[id] + 2*later}
	b := actorstest.EncodeBatch(m.t, p, 2)
	h, err := protocol.CheckBatch(b, 0)
	if err != nil {
		m.t.Fatal(err)
	}
	if m.core.mustLearn(&h) { // from no less than a flush holds
		if err := m.core.learn(logTail(m.log, m.core.written, rapid.SampledFrom([]int64{6000, 9000, 1 << 30}).Draw(m.t, "tail"))); err != nil {
			m.t.Fatal(err)
		}
	}
	value := fmt.Sprintf("%d/%d", id, p.Sequence)
	m.verdict(m.core.putBatch(&actors.PutBatch{Batch: b, Header: h}, m.asker(value), 0))
}

func (m *coreMachine) asker(value string) *actor.PID {
	m.asked++
	name := fmt.Sprintf("a%d", m.asked)
	m.open[name] = value
	return actor.NewPID("", name)
}

func (m *coreMachine) verdict(v verdict) {
	switch {
	case v.err != nil || v.done:
		m.answered(&v.w, v.err)
		return
	case v.flush:
		m.flush = true
	}
	if v.full {
		m.done()
		m.write(true)
	}
}

func (m *coreMachine) answered(w *waiting, err error) {
	one := *w
	for i := range w.requests() {
		m.answeredOne(w.asker(i).Id, one, err)
		one.first++
	}
}

func (m *coreMachine) answeredOne(to string, w waiting, err error) {
	value, ok := m.open[to]
	if !ok {
		m.t.Fatalf("%s was answered twice, or never asked", to)
	}
	delete(m.open, to)
	if w.count > 0 {
		var id int
		var seq int32
		if _, e := fmt.Sscanf(value, "%d/%d", &id, &seq); e != nil {
			m.t.Fatal(e)
		}
		m.stored[value] = m.stored[value] || err == nil
		for m.stored[fmt.Sprintf("%d/%d", id, m.producers[id])] {
			m.producers[id] += 2
		}
	}
	if err != nil {
		return
	}
	if w.first >= m.core.committed {
		m.t.Fatalf("acknowledged %d, committed is %d", w.first, m.core.committed)
	}
	if !m.relaxed && w.first >= m.log.SyncedLocked() {
		m.t.Fatalf("acknowledged %d, synced is %d", w.first, m.log.SyncedLocked())
	}
	if before, ok := m.acked[w.first]; ok && before != value {
		m.t.Fatalf("offset %d was given to %s and to %s", w.first, before, value)
	}
	if !w.duplicate {
		if w.first < m.lastAck {
			m.t.Fatalf("answered %d after %d", w.first, m.lastAck)
		}
		m.lastAck = w.first
	}
	m.acked[w.first] = value
}

func (m *coreMachine) write(force bool) {
	if !force && !m.flush {
		return
	}
	m.now = m.now.Add(time.Duration(rapid.IntRange(-3, 3).Draw(m.t, "clock")) * time.Millisecond)
	w, again := m.core.flush(m.now, force)
	if again {
		return
	}
	m.flush = m.flush && force
	if w.bytes != nil {
		m.work = w
	}
}

// done ends the work that is done, if there is some.
func (m *coreMachine) done() {
	if !m.core.busy {
		return
	}
	var err error
	if m.work.bytes != nil {
		fault := rapid.SampledFrom([]error{nil, nil, nil, protocol.ErrDiskFull, actorstest.ErrDisk}).Draw(m.t, "append")
		m.log.AppendErr = fault
		if err = m.log.Append(m.work.bytes, m.work.around); !errors.Is(err, fault) {
			m.t.Fatal(err)
		}
	}
	if m.work.sync && err == nil {
		m.log.SyncErr = rapid.SampledFrom([]error{nil, nil, nil, actorstest.ErrDisk}).Draw(m.t, "sync")
		err = m.log.Sync()
	}
	m.work = work{}
	m.outcome(m.core.worked(err, m.log.Lead()))
}

func (m *coreMachine) outcome(o outcome) {
	for i := range o.answer {
		m.answered(&o.answer[i], o.err)
	}
	if o.flush {
		m.write(true)
	}
	if o.sync {
		m.work = m.core.syncNow()
	}
	if o.poisoned {
		m.reopen()
	}
}

func (m *coreMachine) reopen() {
	m.log.KeepUnsynced = rapid.Bool().Draw(m.t, "kept")
	if err := m.log.Close(); err != nil {
		m.t.Fatal(err)
	}
	if err := m.log.Open(); err != nil {
		m.t.Fatal(err)
	}
	m.core.open(m.log, 1)
	m.lastAck = 0
	if m.relaxed {
		for first := range m.acked {
			if first >= m.core.next {
				delete(m.acked, first) // what the policy may lose
			}
		}
	}
}

func (m *coreMachine) judge() {
	c := m.core
	if c.synced > c.written || c.written > c.next || c.committed != c.written {
		m.t.Fatalf("next %d, written %d, synced %d, committed %d", c.next, c.written, c.synced, c.committed)
	}
	if staged := requestsOf(c.staged); c.requests != staged {
		m.t.Fatalf("%d requests are staged, the core counts %d", staged, c.requests)
	}
	if c.state == serving && c.written != m.log.Next() {
		m.t.Fatalf("written %d, the log ends at %d", c.written, m.log.Next())
	}
}

// judgeLog compares the log's content with what was acknowledged.
func (m *coreMachine) judgeLog() {
	at := make(map[protocol.Offset]string)
	once := make(map[string]bool)
	var next [2]int32
	for _, b := range m.log.Batches {
		if id := b.Header.ProducerID; id != protocol.NoProducer {
			if b.Header.BaseSequence != next[id] {
				m.t.Fatalf("batch %d of producer %d is stored where %d belongs", b.Header.BaseSequence, id, next[id])
			}
			next[id] += 2
		}
		for r, err := range protocol.DecodeRecords(&b.Header, b.Bytes) {
			if err != nil {
				m.t.Fatal(err)
			}
			at[r.Offset] = string(r.Value)
			if once[string(r.Value)] {
				m.t.Fatalf("%s is in the log twice", r.Value)
			}
			once[string(r.Value)] = true
		}
	}
	for first, value := range m.acked {
		if got := at[first]; got != value && got != value+"/0" {
			m.t.Fatalf("acknowledged %s at %d, the log holds %q there", value, first, got)
		}
	}
	for id, seq := range m.producers {
		for s := int32(0); s < seq && !m.relaxed; s += 2 {
			if !once[fmt.Sprintf("%d/%d/0", id, s)] {
				m.t.Fatalf("batch %d of producer %d was acknowledged and is not there", s, id)
			}
		}
	}
}

func TestPartitionCoreUnderFaults(t *testing.T) {
	for _, relaxed := range []bool{false, true} {
		t.Run(fmt.Sprintf("relaxed %v", relaxed), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				m := &coreMachine{
					t: t, log: &actorstest.Log{Epoch: 1}, now: time.UnixMilli(1_000_000), relaxed: relaxed,
					open: make(map[string]string), acked: make(map[protocol.Offset]string),
					stored: make(map[string]bool),
				}
				opts := actors.Options{FlushBytes: 2000, FlushCount: 8}.WithDefaults()
				m.core = newCore("t", protocol.PartitionID{}, opts)
				if relaxed {
					m.core.configure(actors.Settings{UnflushThreshold: 7})
				}
				if err := m.log.Open(); err != nil {
					t.Fatal(err)
				}
				m.core.open(m.log, 1)
				t.Repeat(map[string]func(*rapid.T){
					"put":   func(*rapid.T) { m.put() },
					"batch": func(*rapid.T) { m.batch() },
					"flush": func(*rapid.T) { m.write(false) },
					"done":  func(*rapid.T) { m.done() },
					"timer": func(*rapid.T) {
						if m.core.syncDue(m.core.timer) {
							m.work = m.core.syncNow()
						}
					},
					"": func(*rapid.T) { m.judge() },
				})
				for m.flush || m.core.busy {
					m.write(false)
					m.done()
				}
				if len(m.open) != 0 {
					t.Fatalf("%d requests were never answered", len(m.open))
				}
				m.judgeLog()
			})
		})
	}
}
