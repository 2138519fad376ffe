package pipe

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"metaq/client"
	"metaq/internal/lines"
	"metaq/protocol"
)

// sink is a Sender that keeps what it is sent and reports it in Flush.
type sink struct {
	got     []client.Record
	refuse  map[string]error // by payload: SendAsync refuses
	fail    map[string]error // by payload: the result is an error
	now     bool             // report in SendAsync
	onSend  func(n int)
	reports []func()
}

func (s *sink) SendAsync(ctx context.Context, r client.Record, done func(client.Result, error)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.refuse[string(r.Value)]; err != nil {
		return err
	}
	s.got = append(s.got, r)
	if s.onSend != nil {
		s.onSend(len(s.got))
	}
	report := func() { done(client.Result{}, s.fail[string(r.Value)]) }
	if s.now {
		report()
		return nil
	}
	s.reports = append(s.reports, report)
	return nil
}

func (s *sink) Flush(context.Context) error {
	for i := range s.reports { // backwards: partitions overtake one another
		s.reports[len(s.reports)-1-i]()
	}
	s.reports = nil
	return nil
}

func TestProduceMakesMessagesOfLines(t *testing.T) {
	var s sink
	var acks strings.Builder
	p := protocol.PartitionID{Home: 0, N: 3}
	o := ProduceOptions{Topic: "t", Partition: &p, Separator: ":", Headers: []client.Header{{Name: "a", Value: "b"}}, Acks: &acks}
	in := lines.NewReader(strings.NewReader("k:v:w\nplain\n:empty key\n\n"), 100)
	sum, err := Produce(t.Context(), &s, in, o)
	if err != nil {
		t.Fatal(err)
	}
	rec := func(key []byte, value string) client.Record {
		return client.Record{Topic: "t", Partition: p, Pinned: true, Key: key, Value: []byte(value), Headers: o.Headers}
	}
	want := []client.Record{rec([]byte("k"), "v:w"), rec(nil, "plain"), rec([]byte{}, "empty key"), rec(nil, "")}
	if diff := cmp.Diff(want, s.got); diff != "" {
		t.Error(diff)
	}
	if acks.String() != "4\n3\n2\n1\n" {
		t.Errorf("acknowledged lines are %q", acks.String())
	}
	sum.Elapsed = 0
	if diff := cmp.Diff(Produced{Lines: 4, Acked: 4, Bytes: 4 + 5 + 9, Keyless: 2}, sum); diff != "" {
		t.Error(diff)
	}
	if got := sum.String(); !strings.HasPrefix(got, "acknowledged 4 of 4 messages, 0.00 MB in ") {
		t.Errorf("summary %q", got)
	}
}

func TestASummaryHasARateFromOneSecondOn(t *testing.T) {
	p := Produced{Lines: 3000, Acked: 3000, Bytes: 4_000_000, Elapsed: 999 * time.Millisecond}
	if got, want := p.String(), "acknowledged 3000 of 3000 messages, 4.00 MB in 999ms"; got != want {
		t.Errorf("below a second: %q, want %q", got, want)
	}
	p.Elapsed = 1500 * time.Millisecond
	if got, want := p.String(), "acknowledged 3000 of 3000 messages, 4.00 MB in 1.50s (2,000 a second)"; got != want {
		t.Errorf("above a second: %q, want %q", got, want)
	}
}

func TestProduceStopsAtTheFirstLineThatFails(t *testing.T) {
	bad := errors.New("no")
	for _, c := range []struct {
		name  string
		sink  sink
		in    string
		limit int
		want  string
		acked int64
		lines int64
	}{
		{"refused by the producer", sink{refuse: map[string]error{"b": bad}}, "a\nb\nc\n", 9, "line 2: no", 1, 2},
		{"not acknowledged", sink{now: true, fail: map[string]error{"b": bad}}, "a\nb\n" + strings.Repeat("c\n", 100_000), 9, "line 2: no", -1, -1},
		{"several failed, the first is named", sink{fail: map[string]error{"b": bad, "c": bad}}, "a\nb\nc\n", 9, "line 2: no", 1, 3},
		{"too long", sink{}, "a\nlong\nc\n", 3, "line 2 is longer than the 3 bytes", 1, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			sum, err := Produce(t.Context(), &c.sink, lines.NewReader(strings.NewReader(c.in), c.limit), ProduceOptions{Topic: "t"})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			if c.acked >= 0 && (sum.Acked != c.acked || sum.Lines != c.lines) {
				t.Errorf("acknowledged %d of %d, want %d of %d", sum.Acked, sum.Lines, c.acked, c.lines)
			}
			if sum.Acked >= sum.Lines || sum.Lines > int64(len(c.sink.got))+1 {
				t.Errorf("acknowledged %d of %d lines, %d sent", sum.Acked, sum.Lines, len(c.sink.got))
			}
		})
	}
}

func TestProduceFinishesWhatItTookWhenTheCallerLeaves(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	stdin, typist := io.Pipe() // a terminal where nobody types on
	t.Cleanup(func() { _ = typist.Close() })
	s := &sink{onSend: func(n int) {
		if n == 3 {
			cancel()
		}
	}}
	go func() { _, _ = io.WriteString(typist, "x\ny\nz\n") }()
	sum, err := Produce(ctx, s, lines.NewReader(stdin, 10), ProduceOptions{Topic: "t"})
	if !errors.Is(err, context.Canceled) || sum.Acked != 3 || sum.Lines != 3 {
		t.Errorf("acknowledged %d of %d, error %v, want 3 and %v", sum.Acked, sum.Lines, err, context.Canceled)
	}
}

func TestProduceSendsALineThatIsCutShort(t *testing.T) {
	var s sink
	sum, err := Produce(t.Context(), &s, lines.NewReader(strings.NewReader("a\nb"), 9), ProduceOptions{Topic: "t"})
	if err != nil || !sum.CutShort || sum.Acked != 2 || string(s.got[1].Value) != "b" {
		t.Errorf("%+v, error %v", sum, err)
	}
}

func TestProduceTellsWhenAcksCannotBeWritten(t *testing.T) {
	full := errors.New("disk full")
	sum, err := Produce(t.Context(), &sink{}, lines.NewReader(strings.NewReader("a\nb\n"), 9),
		ProduceOptions{Topic: "t", Acks: writeFunc(func([]byte) (int, error) { return 0, full })})
	if !errors.Is(err, full) || sum.Acked != 2 {
		t.Errorf("acknowledged %d, error %v", sum.Acked, err)
	}
}

type writeFunc func([]byte) (int, error)

func (f writeFunc) Write(p []byte) (int, error) { return f(p) }
