package produce

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"metaq/client/internal/clientfake"
	"metaq/client/internal/link"
	"metaq/protocol"
)

// flightMachine drives a flight against the rule of a broker, over a network that
// loses requests and answers, delays and repeats them and mixes them up, with
// refusals, crashes and batches that are given up. It judges what is stored.
type flightMachine struct {
	rt      rapidT
	flight  flight
	now     time.Time
	next    int // number of the next batch
	settled []settled
	network []*copied // requests on their way
	replies []func()  // answers on their way
	broker  *modelBroker
	gaveUp  bool // a batch
	forgets bool // the broker may forget the producer, but nothing gets lost
}

// rapidT is what the machine needs of a test, so that a planted mistake can be
// caught.
type rapidT interface {
	Fatalf(format string, args ...any)
}

// copied is a request on its way.
type copied struct {
	attempt uint64
	value   int
	header  protocol.BatchHeader
	answers bool // nobody has given up waiting for its answer
}

// settled is what the sender was told of a batch.
type settled struct {
	value  int
	err    error
	maybe  bool
	offset protocol.Offset
}

// modelBroker keeps one partition, by the rule of Partition unless a mistake
// is planted.
type modelBroker struct {
	clientfake.Partition
	values  []int
	mistake brokerMistake
}

type brokerMistake int

const (
	noMistake     brokerMistake = iota
	anyBegin                    // a producer that is not known may begin with any sequence
	anyEpochBegin               // a new epoch may
	oldEpoch                    // an older epoch is not refused
	shortMemory                 // four batches are remembered
	gaps                        // a gap is not refused
)

func (b *modelBroker) put(c *copied) (protocol.Offset, error) {
	known := b.Producers[c.header.ProducerID]
	h := c.header
	switch {
	case b.mistake == anyBegin && known == nil, b.mistake == anyEpochBegin && known != nil && h.ProducerEpoch > known.Epoch,
		b.mistake == gaps && known != nil && h.ProducerEpoch == known.Epoch && h.BaseSequence > known.Next:
		b.Producers[h.ProducerID] = &clientfake.Producer{Epoch: h.ProducerEpoch, Next: h.BaseSequence}
	case b.mistake == oldEpoch && known != nil && h.ProducerEpoch < known.Epoch:
		b.Producers[h.ProducerID] = &clientfake.Producer{Epoch: h.ProducerEpoch, Next: h.BaseSequence}
	case b.mistake == shortMemory && known != nil && len(known.Recent) == 5:
		known.Recent = known.Recent[1:]
	}
	first, duplicate, err := b.Number(&h)
	if err == nil && !duplicate {
		b.values = append(b.values, c.value)
		b.End += protocol.Offset(h.Count)
	}
	return first, err
}

func (m *flightMachine) valueOf(b *batch) int { return int(b.bytes) }

// shell does what the partition's goroutine does, as far as it gets.
func (m *flightMachine) shell() {
	for {
		if b := m.flight.oldest(); b != nil && b.state != batchFlying {
			expired := b.state == batchWaiting && !m.now.Before(b.deadline)
			if expired || b.state == batchStored || b.state == batchRefused {
				s := settled{value: m.valueOf(b), maybe: b.maybe, offset: b.ack.Offset}
				if b.state != batchStored {
					if !m.gaveUp && b.state == batchRefused && outOfSequence(b.err) {
						m.rt.Fatalf("nobody knows of batch %d, and none before it was given up: %v", s.value, b.err)
					}
					s.err, m.gaveUp = link.ErrNoAnswer, true
				}
				m.flight.settle()
				m.settled = append(m.settled, s)
				continue
			}
		}
		b, _ := m.flight.due(m.now)
		if b == nil {
			return
		}
		attempt := m.flight.sending(b)
		m.network = append(m.network, &copied{
			attempt: attempt, value: m.valueOf(b), answers: true,
			header: protocol.BatchHeader{
				ProducerID: b.number.ID, ProducerEpoch: b.number.Epoch, BaseSequence: b.number.Sequence, Count: b.builder.Count(),
			},
		})
	}
}

func (m *flightMachine) admit(count int) {
	if !m.flight.mayAdmit() {
		return
	}
	b := new(batch)
	for range count {
		if err := b.builder.Add(&protocol.Record{}); err != nil {
			m.rt.Fatalf("%v", err)
		}
	}
	b.bytes = int64(m.next)
	m.next++
	m.flight.admit(b, m.now.Add(time.Minute))
}

func (m *flightMachine) answer(c *copied, offset protocol.Offset, err error) {
	if !c.answers {
		return
	}
	c.answers = false
	m.flight.answered(c.attempt, protocol.PubAck{Offset: offset}, err, m.now, func(int) time.Duration { return time.Second })
}

// deliver brings the i-th request to the broker; lost loses the answer. It says
// whether the sender was told of a refusal.
func (m *flightMachine) deliver(i int, lost bool) (refused bool) {
	c := m.network[i]
	offset, err := m.broker.put(c)
	if lost {
		m.answer(c, 0, link.ErrNoAnswer)
		return false
	}
	m.answer(c, offset, err)
	return err != nil
}

func (m *flightMachine) step(rt *rapid.T) {
	pick := func() int { return rapid.IntRange(0, min(len(m.network), 8)-1).Draw(rt, "request") }
	remove := func(i int) { m.network = slices.Delete(m.network, i, i+1) }
	kind := rapid.IntRange(0, 12).Draw(rt, "event")
	if m.forgets && kind >= 6 && kind <= 9 {
		kind -= 6
	}
	switch {
	case kind == 10:
		m.now = m.now.Add(time.Duration(rapid.IntRange(0, 40).Draw(rt, "seconds")) * time.Second)
	case kind == 11 && m.forgets && rapid.IntRange(0, 9).Draw(rt, "forgets") == 0:
		clear(m.broker.Producers)
	case kind == 12 && len(m.replies) > 0:
		i := rapid.IntRange(0, len(m.replies)-1).Draw(rt, "answer")
		m.replies[i]()
		m.replies = slices.Delete(m.replies, i, i+1)
	case kind <= 2 || kind > 10 || len(m.network) == 0:
		m.admit(rapid.IntRange(1, 2).Draw(rt, "records"))
	case kind <= 4:
		i := pick()
		if rapid.Bool().Draw(rt, "slow answer") {
			c := m.network[i]
			offset, err := m.broker.put(c)
			m.replies = append(m.replies, func() { m.answer(c, offset, err) })
		} else {
			m.deliver(i, false)
		}
		remove(i)
	case kind == 5: // refused, and not stored
		i := pick()
		refusal := rapid.SampledFrom([]error{protocol.ErrBusy, protocol.ErrDiskFull, link.ErrNoBroker, protocol.ErrTooLarge}).Draw(rt, "refusal")
		m.answer(m.network[i], 0, refusal)
		remove(i)
	case kind == 6: // arrives, and its answer is lost
		i := pick()
		m.deliver(i, true)
		remove(i)
	case kind == 7: // arrives, and may come again; a refusal that was heard is of the only one
		i := pick()
		if m.deliver(i, rapid.Bool().Draw(rt, "lost")) {
			remove(i)
		}
	case kind == 8: // too late: it may arrive after that
		m.answer(m.network[pick()], 0, link.ErrNoAnswer)
	case kind == 9: // lost
		i := pick()
		m.answer(m.network[i], 0, link.ErrNoAnswer)
		remove(i)
	}
	m.shell()
}

// finish lets all that is on its way arrive, and what is left be stored or given up.
func (m *flightMachine) finish() {
	for i := 0; len(m.network) > 0 || len(m.flight.batches) > 0; i++ {
		if i > 10_000 {
			m.rt.Fatalf("batches are left and nothing happens: %+v", m.flight)
		}
		for _, reply := range m.replies {
			reply()
		}
		m.replies = nil
		if len(m.network) > 0 {
			m.deliver(0, false)
			m.network = m.network[1:]
		}
		m.now = m.now.Add(time.Second)
		m.shell()
	}
}

func (m *flightMachine) judge() {
	at := make(map[int]protocol.Offset)
	last := -1
	for i, v := range m.broker.values {
		if _, twice := at[v]; twice {
			m.rt.Fatalf("batch %d is stored twice: %v", v, m.broker.values)
		}
		if v < last {
			m.rt.Fatalf("batch %d is stored after %d: %v", v, last, m.broker.values)
		}
		at[v], last = protocol.Offset(i), v
	}
	for i, s := range m.settled {
		_, stored := at[s.value]
		switch {
		case s.value != i:
			m.rt.Fatalf("batch %d was settled in place of %d", s.value, i)
		case s.err == nil && !stored:
			m.rt.Fatalf("batch %d was acknowledged and is not stored: %v", i, m.broker.values)
		case s.err != nil && !s.maybe && stored:
			m.rt.Fatalf("batch %d is said not to be stored, and it is: %v", i, m.broker.values)
		}
	}
	if len(m.settled) != m.next {
		m.rt.Fatalf("%d of %d batches were settled", len(m.settled), m.next)
	}
}

func runFlight(rt *rapid.T, to rapidT, mistake brokerMistake) {
	m := &flightMachine{
		rt: to, now: time.Unix(0, 0), flight: flight{seq: sequence{id: 7}},
		broker:  &modelBroker{Partition: clientfake.Partition{Producers: make(map[int64]*clientfake.Producer)}, mistake: mistake},
		forgets: rapid.IntRange(0, 3).Draw(rt, "forgets") == 0,
	}
	for range rapid.IntRange(1, 120).Draw(rt, "steps") {
		m.step(rt)
	}
	m.finish()
	m.judge()
}

// TestFlightStoresOnceInOrder: whatever happens to requests and answers, each
// batch is stored once, in its place, and is reported as what became of it.
func TestFlightStoresOnceInOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) { runFlight(rt, rt, noMistake) })
}

// errFound ends a run in which the judge found what was planted.
var errFound = errors.New("found")

type finder struct{ found bool }

func (f *finder) Fatalf(format string, args ...any) {
	f.found = true
	panic(fmt.Errorf("%w: "+format, append([]any{errFound}, args...)...))
}

// TestFlightNeedsEachRuleOfTheBroker: with any one of them broken batches get lost,
// come twice or out of order, and the machine above sees it.
func TestFlightNeedsEachRuleOfTheBroker(t *testing.T) {
	for mistake := anyBegin; mistake <= gaps; mistake++ {
		f := new(finder)
		for seed := 0; seed < 20_000 && !f.found; seed++ {
			func() {
				defer func() {
					if err, ok := recover().(error); ok && !errors.Is(err, errFound) {
						panic(err)
					}
				}()
				rapid.Custom(func(rt *rapid.T) int { runFlight(rt, f, mistake); return 0 }).Example(seed)
			}()
		}
		if !f.found {
			t.Errorf("mistake %d of the broker was not noticed", mistake)
		}
	}
}
