package actorstest

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"metaq/actors"
	"metaq/protocol"
)

// Tickets counts what requests hold.
type Tickets struct{ Held atomic.Int64 }

// Release implements actors.Admission.
func (a *Tickets) Release(_, bytes int) { a.Held.Add(-int64(bytes)) }

// Take hands out a ticket of one byte.
func (a *Tickets) Take() actors.Ticket {
	a.Held.Add(1)
	return actors.Ticket{From: a, Bytes: 1}
}

// Probe is a PID whose messages a test reads.
type Probe struct {
	Pid *actor.PID
	Got chan any
}

// SendUserMessage implements actor.Process.
func (p *Probe) SendUserMessage(_ *actor.PID, m any) {
	_, m, _ = actor.UnwrapEnvelope(m)
	if _, ok := m.(*actor.DeadLetterResponse); !ok {
		p.Got <- m
	}
}

// SendSystemMessage implements actor.Process.
func (p *Probe) SendSystemMessage(*actor.PID, any) {}

// Stop implements actor.Process.
func (p *Probe) Stop(*actor.PID) {}

// NewProbe registers a probe.
func NewProbe(system *actor.ActorSystem) *Probe {
	p := &Probe{Got: make(chan any, 100_000)}
	p.Pid, _ = system.ProcessRegistry.Add(p, "probe"+system.ProcessRegistry.NextId())
	return p
}

// Next returns the next answer.
func (p *Probe) Next(t testing.TB) any {
	t.Helper()
	select {
	case m := <-p.Got:
		return m
	case <-time.After(10 * time.Second):
		t.Fatal("no answer within 10 s")
		return nil
	}
}

// QuietLog returns a logger that writes nothing.
func QuietLog() *slog.Logger { return slog.New(slog.DiscardHandler) }

// Bubble is synctest.Test for tests with actors. At the end, once the broker has
// stopped, it lets the library's timer for its log of dead letters run out, which
// else is a goroutine that is left over whenever the stop has made a dead letter.
func Bubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		t.Cleanup(func() { <-time.After(time.Hour) })
		test(t)
	})
}

// WaitFor polls until the condition holds, for at most ten seconds.
func WaitFor(t testing.TB, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(10 * time.Second); !condition(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

// Values decodes what a get returned.
func Values(t testing.TB, answer any) []string {
	t.Helper()
	g, ok := answer.(*actors.GetResult)
	if !ok {
		t.Fatalf("the get was answered with %T: %v", answer, answer)
	}
	defer g.Release()
	var out []string
	for b := g.Batches; len(b) > 0; {
		h, err := protocol.CheckBatch(b, 0)
		if err != nil {
			t.Fatal(err)
		}
		for rec, err := range protocol.DecodeRecords(&h, b) {
			if err != nil {
				t.Fatal(err)
			}
			if rec.Offset >= g.From {
				out = append(out, string(rec.Value))
			}
		}
		b = b[h.Length:]
	}
	return out
}

// OffsetOf returns the offset that a put was acknowledged with.
func OffsetOf(t testing.TB, answer any) protocol.Offset {
	t.Helper()
	ack, ok := answer.(protocol.PubAck)
	if !ok {
		t.Fatalf("the put was answered with %T: %v", answer, answer)
	}
	return ack.Offset
}

// RequireError fails the test unless a request was refused with want.
func RequireError(t testing.TB, answer any, want error) {
	t.Helper()
	_ = Refusal(t, answer, want)
}

// Refusal returns the error that a request was refused with.
func Refusal(t testing.TB, answer any, want error) *protocol.Error {
	t.Helper()
	err, ok := answer.(error)
	if !ok || !errors.Is(err, want) {
		t.Fatalf("answered with %T %v, want %v", answer, answer, want)
	}
	return protocol.AsError(err)
}

// Ptr returns a pointer to v.
func Ptr[T any](v T) *T { return &v }

// Together is a message of puts that came one after the other. Nobody may say more than
// once for each that it was answered.
func Together(all ...actors.Put) *actors.Puts {
	l := new(Lent)
	l.Users.Store(int64(len(all)))
	return &actors.Puts{All: all, Memory: l}
}

// Lent counts who has not released it.
type Lent struct{ Users atomic.Int64 }

// Release implements actors.Memory.
func (l *Lent) Release(n int) {
	if l.Users.Add(-int64(n)) < 0 {
		panic("memory was released more often than it was used")
	}
}

// PartitionIDs returns the first n partitions of broker 0.
func PartitionIDs(n int) []protocol.PartitionID {
	var out []protocol.PartitionID
	for i := range n {
		out = append(out, protocol.PartitionID{N: i})
	}
	return out
}

// EncodeBatch returns a batch of n records.
func EncodeBatch(t Fataler, p protocol.Producer, n int) []byte {
	t.Helper()
	var b protocol.BatchBuilder
	for i := range n {
		if err := b.Add(&protocol.Record{Value: fmt.Appendf(nil, "%d/%d/%d", p.ID, p.Sequence, i)}); err != nil {
			t.Fatal(err)
		}
	}
	return b.Encode(protocol.CompressionNone, p)
}

// Fataler is a test or a property.
type Fataler interface {
	Helper()
	Fatal(args ...any)
}

// ManyTopics are n names of 60 bytes that begin with prefix.
func ManyTopics(prefix string, n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("%s%04d-%s", prefix, i, strings.Repeat("x", 54)))
	}
	return out
}
