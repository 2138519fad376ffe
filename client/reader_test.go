package client

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"metaq/client/internal/clientfake"
	"metaq/client/internal/fetch"
	"metaq/protocol"
)

// fill stores records with the values from..to-1 in one batch, a second apart.
func fill(t testing.TB, b *clientfake.Broker, topic string, n, from, to int) {
	t.Helper()
	var bb protocol.BatchBuilder
	for i := from; i < to; i++ {
		if err := bb.Add(&protocol.Record{Time: int64(i) * 1000, Value: fmt.Append(nil, i)}); err != nil {
			t.Fatal(err)
		}
	}
	data := bb.Encode(protocol.CompressionS2, protocol.Producer{ID: protocol.NoProducer})
	b.With(topic, n, func(p *clientfake.Partition) {
		protocol.StampBatch(data, protocol.Stamp{Base: p.End, Epoch: b.Epoch, MaxTime: int64(to-1) * 1000, MetaqLen: bb.MetaqLen()})
		p.Batches = append(p.Batches, data)
		p.End += Offset(bb.Count())
	})
}

func mustReader(t testing.TB, c *Client, topic string, opts ...ReaderOption) *Reader {
	t.Helper()
	r, err := c.NewReader(t.Context(), topic, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// read returns the values of the next n records.
func read(t testing.TB, r *Reader, n int) []string {
	t.Helper()
	var out []string
	for range n {
		rec, err := r.Next(t.Context())
		if err != nil {
			t.Fatalf("after %d records: %v", len(out), err)
		}
		out = append(out, string(rec.Value))
	}
	return out
}

// nothing fails the test when a record is there.
func nothing(t testing.TB, r *Reader) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if rec, err := r.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Next = %+v, %v; want nothing", rec, err)
	}
}

func TestReaderBeginsWhereItIsTold(t *testing.T) {
	for _, tc := range []struct {
		name string
		opts []ReaderOption
		want []string // of the records 0..9, before 10 is sent
	}{
		{"default is the log start", nil, numbered(10)[2:]},
		{"earliest", []ReaderOption{StartAt(Earliest())}, numbered(10)[2:]},
		{"latest", []ReaderOption{StartAt(Latest())}, nil},
		{"offset inside a batch", []ReaderOption{StartAt(AtOffset(5))}, numbered(10)[5:]},
		{"the end", []ReaderOption{StartAt(AtOffset(10))}, nil},
		{"time of a record", []ReaderOption{StartAt(AtTime(time.UnixMilli(7000)))}, numbered(10)[7:]},
		{"time between records", []ReaderOption{StartAt(AtTime(time.UnixMilli(6500)))}, numbered(10)[7:]},
		{"time after all", []ReaderOption{StartAt(AtTime(time.UnixMilli(99_000)))}, nil},
		{"offsets by partition", []ReaderOption{StartAt(Latest()), StartAtOffsets(map[PartitionID]Offset{{}: 8})}, numbered(10)[8:]},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, _, c := fakeCluster(t, "orders", 1)
				fill(t, b, "orders", 0, 0, 4)
				fill(t, b, "orders", 0, 4, 10)
				b.With("orders", 0, func(p *clientfake.Partition) { p.Start = 2 })
				r := mustReader(t, c, "orders", tc.opts...)
				defer r.Close()
				if diff := cmp.Diff(tc.want, read(t, r, len(tc.want))); diff != "" {
					t.Errorf("read (-want +got):\n%s", diff)
				}
				nothing(t, r)
				if lag, exact := r.Lag(); lag != 0 || !exact {
					t.Errorf("at the end the lag is %d, exact %v", lag, exact)
				}
				fill(t, b, "orders", 0, 10, 11)
				if got := read(t, r, 1); got[0] != "10" {
					t.Errorf("the next record is %s", got[0])
				}
			})
		})
	}
}

func TestReaderGivesWholeRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _, c := fakeCluster(t, "orders", 3)
		p := mustProducer(t, c, WithCompression(CompressionZstd))
		want := Record{
			Topic: "orders", Partition: PartitionID{N: 2}, Pinned: true, Time: time.Now().UTC(),
			Key: []byte("k"), Value: []byte("v"), Headers: []Header{{Name: "a", Value: "b"}},
		}
		if _, err := p.Send(t.Context(), want); err != nil {
			t.Fatal(err)
		}
		mustClose(t, p)
		r := mustReader(t, c, "orders", ReadPartitions(PartitionID{N: 2}, PartitionID{N: 1}))
		defer r.Close()
		got, err := r.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		want.Pinned = false
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("read (-want +got):\n%s", diff)
		}
		fill(t, b, "orders", 0, 0, 1)
		nothing(t, r) // the partition was not asked for
	})
}

// TestReaderGivesEveryRecordOnceInOrder reads through random faults.
func TestReaderGivesEveryRecordOnceInOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		faults := rapid.IntRange(0, 80).Draw(rt, "faults in 100")
		partitions := rapid.IntRange(1, 4).Draw(rt, "partitions")
		batches := rapid.SliceOfN(rapid.IntRange(1, 20), 1, 30).Draw(rt, "records in each batch")
		prefetch := rapid.Int64Range(1, 20_000).Draw(rt, "prefetch")
		by := rapid.SampledFrom([]string{"Next", "NextBatch", "AppendBatch"}).Draw(rt, "by")
		var problem error
		synctest.Test(t, func(t *testing.T) {
			b, l, c := fakeCluster(t, "orders", partitions)
			rnd := rand.New(rand.NewPCG(seed, 1))
			l.Plan = func(string, int) clientfake.Fault {
				if rnd.IntN(100) >= faults {
					return clientfake.Fault{}
				}
				return []clientfake.Fault{
					{Nobody: true},
					{Lose: true},
					{Mute: true},
					{Cut: true},
					{Refuse: protocol.ErrBusy},
					{Refuse: protocol.ErrUnavailable},
					{Delay: time.Second},
				}[rnd.IntN(7)]
			}
			r := mustReader(t, c, "orders", WithPrefetch(prefetch))
			defer r.Close()
			next := r.NextBatch
			var memory []Record
			switch by {
			case "Next":
				next = func(ctx context.Context) ([]Record, error) {
					rec, err := r.Next(ctx)
					return []Record{rec}, err
				}
			case "AppendBatch":
				next = func(ctx context.Context) (recs []Record, err error) {
					memory, err = r.AppendBatch(ctx, memory[:0])
					return memory, err
				}
			}
			at := make([]int, partitions)
			total := 0
			for i, n := range batches {
				p := i % partitions
				fill(t, b, "orders", p, at[p], at[p]+n)
				at[p] += n
				total += n
			}
			clear(at)
			for got := 0; got < total; {
				recs, err := next(t.Context())
				if err != nil {
					problem = err
					return
				}
				for _, rec := range recs {
					p := rec.Partition.N
					if int(rec.Offset) != at[p] || string(rec.Value) != fmt.Sprint(at[p]) {
						problem = fmt.Errorf("partition %d gave %d (%s), want %d", p, rec.Offset, rec.Value, at[p])
						return
					}
					at[p]++
					got++
				}
			}
		})
		if problem != nil {
			rt.Fatal(problem)
		}
	})
}

func TestReaderOutOfRange(t *testing.T) {
	for _, tc := range []struct {
		policy OutOfRange
		at     Offset
		want   []string // nil: an error
	}{
		{OutOfRangeError, 1, nil},
		{OutOfRangeError, 11, nil},
		{OutOfRangeEarliest, 1, numbered(10)[4:]},
		{OutOfRangeEarliest, 11, numbered(10)[4:]},
		{OutOfRangeLatest, 1, []string{}},
		{OutOfRangeAsBroker, 1, nil},
	} {
		t.Run(fmt.Sprint(tc.policy, tc.at), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, _, c := fakeCluster(t, "orders", 1)
				fill(t, b, "orders", 0, 0, 10)
				b.With("orders", 0, func(p *clientfake.Partition) { p.Start = 4 })
				r := mustReader(t, c, "orders", StartAt(AtOffset(tc.at)), WhenOutOfRange(tc.policy))
				defer r.Close()
				if tc.want != nil {
					if diff := cmp.Diff(tc.want, append([]string{}, read(t, r, len(tc.want))...)); diff != "" {
						t.Errorf("read (-want +got):\n%s", diff)
					}
					nothing(t, r)
					return
				}
				for range 2 { // it stays an error, since nothing else can come
					_, err := r.Next(t.Context())
					var out *protocol.RangeError
					if !errors.Is(err, ErrOutOfRange) || !errors.As(err, &out) || out.LogStart != 4 || out.EndOffset != 10 {
						t.Errorf("error %v", err)
					}
				}
				if p := r.Positions()[0]; p.Err == nil || p.LogStart != 4 || p.EndOffset != 10 {
					t.Errorf("position %+v", p)
				}
				if err := r.Seek(PartitionID{}, AtOffset(8)); err != nil {
					t.Error(err)
				}
				if diff := cmp.Diff([]string{"8", "9"}, read(t, r, 2)); diff != "" {
					t.Errorf("after Seek (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestReaderStopsADamagedPartitionOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _, c := fakeCluster(t, "orders", 2)
		fill(t, b, "orders", 0, 0, 3)
		fill(t, b, "orders", 0, 3, 6)
		fill(t, b, "orders", 0, 6, 9) // is fetched, and must not be given
		b.With("orders", 0, func(p *clientfake.Partition) { p.Batches[1][len(p.Batches[1])-1] ^= 1 })
		r := mustReader(t, c, "orders")
		defer r.Close()
		if diff := cmp.Diff(numbered(3), read(t, r, 3)); diff != "" {
			t.Errorf("before the damage (-want +got):\n%s", diff)
		}
		_, err := r.Next(t.Context())
		if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "offset 3 of orders 0-0") {
			t.Errorf("at the damage: %v", err)
		}
		if p := r.Positions()[0]; p.Offset != 3 || !errors.Is(p.Err, ErrCorrupt) {
			t.Errorf("stopped at %+v", p)
		}
		fill(t, b, "orders", 1, 0, 2)
		if diff := cmp.Diff(numbered(2), read(t, r, 2)); diff != "" {
			t.Errorf("the other partition (-want +got):\n%s", diff)
		}
		nothing(t, r)
		if err := r.Seek(PartitionID{}, AtOffset(6)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(numbered(9)[6:], read(t, r, 3)); diff != "" {
			t.Errorf("behind the damage (-want +got):\n%s", diff)
		}
	})
}

func TestAppendBatchWritesOverRecordsButNotTheirBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _, c := fakeCluster(t, "orders", 1)
		fill(t, b, "orders", 0, 0, 5)
		fill(t, b, "orders", 0, 5, 9)
		r := mustReader(t, c, "orders")
		defer r.Close()
		var values [][]byte
		var recs []Record
		for len(values) < 9 {
			before := len(values)
			more, err := r.AppendBatch(t.Context(), recs[:0])
			if err != nil {
				t.Fatal(err)
			}
			if before > 0 && &more[0] != &recs[0] {
				t.Error("the memory was not used again")
			}
			recs = more
			for i := range recs {
				values = append(values, recs[i].Value)
			}
		}
		if diff := cmp.Diff(numbered(9), texts(values)); diff != "" {
			t.Errorf("values that were kept (-want +got):\n%s", diff)
		}
		fill(t, b, "orders", 0, 9, 10)
		after, err := r.AppendBatch(t.Context(), recs)
		if err != nil || len(after) != len(recs)+1 || string(after[len(recs)].Value) != "9" || string(after[0].Value) != "5" {
			t.Errorf("appended to %d records: %d, %v", len(recs), len(after), err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if same, err := r.AppendBatch(ctx, after); err == nil || len(same) != len(after) {
			t.Errorf("with an error: %d records, %v; want %d as before", len(same), err, len(after))
		}
	})
}

func texts(values [][]byte) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = string(v)
	}
	return out
}

// BenchmarkTakeBatch takes the records of a fetched batch: into new memory as
// NextBatch does, and into used memory as AppendBatch may.
func BenchmarkTakeBatch(b *testing.B) {
	var bb protocol.BatchBuilder
	for range 1000 {
		if err := bb.Add(&protocol.Record{Time: 1, Value: make([]byte, 128)}); err != nil {
			b.Fatal(err)
		}
	}
	raw := bb.Encode(protocol.CompressionNone, protocol.Producer{ID: protocol.NoProducer})
	h, err := protocol.ParseBatchHeader(raw)
	if err != nil {
		b.Fatal(err)
	}
	for _, again := range []bool{false, true} {
		b.Run(fmt.Sprintf("again=%v", again), func(b *testing.B) {
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			var recs []Record
			for b.Loop() {
				if !again {
					recs = nil
				}
				c := fetch.Chunk{Topic: "orders", Raw: raw, Head: h}
				if recs, err = appendRecords(recs[:0], &c, math.MaxInt); err != nil || len(recs) != 1000 {
					b.Fatal(len(recs), err)
				}
			}
		})
	}
}

func TestReaderSeek(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _, c := fakeCluster(t, "orders", 2)
		for i := range 5 {
			fill(t, b, "orders", 1, i*2, i*2+2)
		}
		r := mustReader(t, c, "orders", ReadPartitions(PartitionID{N: 1}))
		defer r.Close()
		read(t, r, 3)
		synctest.Wait() // the rest is fetched
		if err := r.Seek(PartitionID{N: 1}, AtOffset(7)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"7", "8"}, read(t, r, 2)); diff != "" {
			t.Errorf("after Seek to 7 (-want +got):\n%s", diff)
		}
		if err := r.Seek(PartitionID{N: 1}, Earliest()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(numbered(10), read(t, r, 10)); diff != "" {
			t.Errorf("after Seek to the start (-want +got):\n%s", diff)
		}
		synctest.Wait() // a long poll is parked
		if err := r.Seek(PartitionID{N: 1}, AtTime(time.UnixMilli(9000))); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		if got := read(t, r, 1); got[0] != "9" || time.Since(begun) > time.Second {
			t.Errorf("after Seek to a time came %q, after %v", got, time.Since(begun))
		}
		if err := r.Seek(PartitionID{}, Earliest()); !errors.Is(err, ErrNoPartition) {
			t.Errorf("of a partition that is not read: %v", err)
		}
	})
}

// TestSeekBeatsAnAnswerOnItsWay: an answer that comes after Seek belongs to the
// place before it.
func TestSeekBeatsAnAnswerOnItsWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, l, c := fakeCluster(t, "orders", 1)
		fill(t, b, "orders", 0, 0, 5)
		fill(t, b, "orders", 0, 5, 10)
		l.Plan = func(string, int) clientfake.Fault { return clientfake.Fault{Deaf: time.Second} }
		r := mustReader(t, c, "orders")
		defer r.Close()
		synctest.Wait() // the answer is on its way
		if err := r.Seek(PartitionID{}, AtOffset(7)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"7", "8", "9"}, read(t, r, 3)); diff != "" {
			t.Errorf("after Seek (-want +got):\n%s", diff)
		}
		nothing(t, r)
	})
}

func TestReaderPositions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _, c := fakeCluster(t, "orders", 2)
		fill(t, b, "orders", 0, 0, 4)
		fill(t, b, "orders", 0, 4, 8)
		b.With("orders", 1, func(p *clientfake.Partition) { p.LeaderOff = true })
		r := mustReader(t, c, "orders")
		defer r.Close()
		synctest.Wait()
		expect := func(offset Offset, lag int64) {
			t.Helper()
			synctest.Wait()
			got := r.Positions()
			if p := got[0]; p.Offset != offset || p.EndOffset != 8 || !p.Known || p.Err != nil {
				t.Errorf("position %+v, want offset %d", p, offset)
			}
			if p := got[1]; p.Known || !errors.Is(p.Err, ErrNoBroker) {
				t.Errorf("position without a leader %+v", p)
			}
			if n, exact := r.Lag(); n != lag || exact {
				t.Errorf("lag %d, exact %v; want %d, not exact", n, exact, lag)
			}
		}
		expect(0, 8)
		read(t, r, 3)
		expect(3, 5)
		read(t, r, 1)
		expect(4, 4)
		read(t, r, 4)
		expect(8, 0)
	})
}

func TestReaderHoldsNoMoreThanItsPrefetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _, c := fakeCluster(t, "orders", 2)
		for i := range 50 {
			fill(t, b, "orders", i%2, i/2*10, i/2*10+10)
		}
		const prefetch = 10_000
		r := mustReader(t, c, "orders", WithPrefetch(prefetch))
		defer r.Close()
		for range 500 {
			synctest.Wait() // all is fetched that may be
			held := r.feeds.Held()
			if most := prefetch + 2*(10*recordBytes+100); held > most {
				t.Fatalf("%d bytes are held, at most %d may be", held, most)
			}
			read(t, r, 1)
		}
		if held := r.feeds.Held(); held != 0 {
			t.Errorf("%d bytes are held of nothing", held)
		}
	})
}

func TestReaderFindsNewPartitionsAndMissesDeletedTopics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _, c := fakeCluster(t, "orders", 1)
		r := mustReader(t, c, "orders", StartAt(Latest()))
		defer r.Close()
		b.Create("orders", 2)
		fill(t, b, "orders", 1, 0, 3)
		if diff := cmp.Diff(numbered(3), read(t, r, 3)); diff != "" {
			t.Errorf("the new partition (-want +got):\n%s", diff)
		}
		if err := c.Admin().DeleteTopic(t.Context(), "orders"); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if _, err := r.Next(t.Context()); !errors.Is(err, ErrNoTopic) {
				t.Errorf("of a deleted topic: %v", err)
			}
		}
	})
}

func TestNewReaderRefuses(t *testing.T) {
	_, _, c := fakeCluster(t, "orders", 1)
	if _, err := c.NewReader(t.Context(), "other"); !errors.Is(err, ErrNoTopic) {
		t.Errorf("no such topic: %v", err)
	}
	if _, err := c.NewReader(t.Context(), "a.b"); !errors.Is(err, ErrBadName) {
		t.Errorf("name not allowed: %v", err)
	}
	if _, err := c.NewReader(t.Context(), "orders", ReadPartitions(PartitionID{N: 7})); !errors.Is(err, ErrNoPartition) {
		t.Errorf("no such partition: %v", err)
	}
}

func TestReaderClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, c := fakeCluster(t, "orders", 4)
		r := mustReader(t, c, "orders")
		got := make(chan error)
		go func() { _, err := r.Next(t.Context()); got <- err }()
		synctest.Wait() // long polls are parked, and Next waits
		begun := time.Now()
		r.Close()
		if err := <-got; !errors.Is(err, ErrClosed) || time.Since(begun) > 0 {
			t.Errorf("Next ended after %v with %v", time.Since(begun), err)
		}
		r.Close()
	})
}

func TestStartText(t *testing.T) {
	for _, s := range []string{"earliest", "latest", "42", "2026-01-02T15:04:05Z", "2026-01-02T15:04:05.123Z"} {
		start, err := ParseStart(s)
		if err != nil || start.String() != s {
			t.Errorf("%q became %q, %v", s, start, err)
		}
	}
	for _, s := range []string{"", "-1", "now", "2026-01-02"} {
		if start, err := ParseStart(s); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", s)) {
			t.Errorf("%q became %q, %v", s, start, err)
		}
	}
}

func TestControlBatchesMoveThePositionOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _, c := fakeCluster(t, "orders", 1)
		for i := range 6 {
			fill(t, b, "orders", 0, i, i+1)
		}
		b.With("orders", 0, func(p *clientfake.Partition) {
			for _, i := range []int{0, 3, 5} {
				p.Batches[i] = markControl(t, p.Batches[i])
			}
		})
		r := mustReader(t, c, "orders")
		defer r.Close()
		if diff := cmp.Diff([]string{"1", "2", "4"}, read(t, r, 3)); diff != "" {
			t.Errorf("read (-want +got):\n%s", diff)
		}
		nothing(t, r)
		if lag, exact := r.Lag(); lag != 0 || !exact {
			t.Errorf("lag %d, exact %v", lag, exact)
		}
	})
}

// markControl returns the batch with its control bit set and its checksum right.
func markControl(t testing.TB, b []byte) []byte {
	t.Helper()
	b = slices.Clone(b)
	h, err := protocol.ParseBatchHeader(b)
	if err != nil {
		t.Fatal(err)
	}
	b[13] |= 0x10
	protocol.StampBatch(b, protocol.Stamp{Base: h.Base, MaxTime: h.MaxTime, MetaqLen: h.MetaqLen})
	return b
}
