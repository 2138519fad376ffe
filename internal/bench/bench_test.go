package bench

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"metaq/client"
)

// feed is a Source that gives three messages every second, each a second old.
type feed struct{ batches int }

func (f *feed) AppendBatch(ctx context.Context, dst []client.Record) ([]client.Record, error) {
	if f.batches == 0 {
		<-ctx.Done()
		return dst, ctx.Err()
	}
	f.batches--
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		return dst, ctx.Err()
	}
	r := client.Record{Value: []byte("12345"), Time: time.Now().Add(-time.Second)}
	return append(dst, r, r, r), nil
}

func TestConsumeMeasures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got, err := Consume(t.Context(), &feed{batches: 9}, ConsumeOptions{Topic: "t", Count: 8, Timeout: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		mb := float64(40) / 1e6
		want := Report{
			Op: "consume", Topic: "t", Messages: 8, Bytes: 40, Seconds: 3, PerSecond: 8.0 / 3, MBPerSec: mb / 3,
			Latency: Latency{P50: 1000, P99: 1000, P999: 1000, Max: 1000},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestConsumeSaysWhenNothingMoreComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, err := Consume(t.Context(), &feed{batches: 1}, ConsumeOptions{Topic: "t", Count: 8, Timeout: time.Minute})
		if want := "after 3 of 8 messages: no message came for 1m0s"; err == nil || err.Error() != want {
			t.Errorf("error %v, want %q", err, want)
		}
	})
}

func TestReportForPeople(t *testing.T) {
	var h Histogram
	for range 100 {
		h.Add(2 * time.Millisecond)
	}
	h.Add(time.Second)
	var w strings.Builder
	if err := newReport("produce", "t", 1_000_000, 128_000_000, 2*time.Second, &h).Write(&w); err != nil {
		t.Fatal(err)
	}
	want := `produce t: 1,000,000 messages, 128.00 MB in 2.00s
500,000 msg/s, 64.00 MB/s
send to acknowledgement: p50 2.02ms, p99 2.02ms, p99.9 1.00s, max 1.00s
`
	if diff := cmp.Diff(want, w.String()); diff != "" {
		t.Error(diff)
	}
}

func TestPayloadsHaveTheirSizeAndDiffer(t *testing.T) {
	all := payloads(100)
	for i := range all {
		if len(all[i]) != 100 || i > 0 && bytes.Equal(all[i], all[i-1]) {
			t.Fatalf("payload %d has %d bytes, or is that before it", i, len(all[i]))
		}
	}
}
