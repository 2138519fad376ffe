package client

import (
	"errors"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"metaq/client/internal/clientfake"
	"metaq/protocol"
)

// single fills a partition with batches of one record.
func single(t testing.TB, b *clientfake.Broker, topic string, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		fill(t, b, topic, 0, i, i+1)
	}
}

func numbers(from, to int) []string {
	var out []string
	for i := from; i < to; i++ {
		out = append(out, strconv.Itoa(i))
	}
	return out
}

// The log loses its last ten records while a reader waits at its end, or is told to begin
// there, and grows beyond that place again. What it got before that is not skipped in silence.
func TestAReaderNoticesThatALogHasLostItsEnd(t *testing.T) {
	for _, c := range []struct {
		name   string
		policy OutOfRange
		jump   bool
		goesOn bool
	}{
		{"stops by default", OutOfRangeError, true, false},
		{"stops as the broker says", OutOfRangeAsBroker, false, false},
		{"goes back as the broker says", OutOfRangeAsBroker, true, true},
		{"goes back instead of to the end", OutOfRangeLatest, false, true},
		{"goes back instead of to the start", OutOfRangeEarliest, false, true},
	} {
		for _, begin := range []string{"has read", "latest", "named"} {
			t.Run(c.name+", "+begin, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b, _, client := fakeCluster(t, "orders", 1)
					b.Epoch = 1
					single(t, b, "orders", 0, 30)
					b.With("orders", 0, func(p *clientfake.Partition) { p.Jump = c.jump })
					var moves []MovedError
					start := map[string]Start{"has read": Earliest(), "latest": Latest(), "named": AtOffset(30)}[begin]
					r := mustReader(t, client, "orders", StartAt(start), WhenOutOfRange(c.policy),
						WhenMoved(func(m *MovedError) { moves = append(moves, *m) }))
					defer r.Close()
					if begin == "has read" {
						read(t, r, 30)
					}
					synctest.Wait() // its get waits at the end
					b.Lose("orders", 0, 10)
					single(t, b, "orders", 100, 125)
					if !c.goesOn {
						_, err := r.Next(t.Context())
						var out *protocol.RangeError
						if !errors.Is(err, ErrDiverged) || !errors.Is(err, ErrOutOfRange) || !errors.As(err, &out) || *out.DivergedAt != 20 {
							t.Errorf("Next: %v", err)
						}
						return
					}
					if diff := cmp.Diff(numbers(100, 125), read(t, r, 25)); diff != "" {
						t.Error(diff)
					}
					want := []MovedError{{Topic: "orders", From: 30, To: 20}}
					if diff := cmp.Diff(want, moves); diff != "" {
						t.Error(diff)
					}
				})
			})
		}
	}
}

// Whatever its policy, a reader starts over in a topic that was recreated, however far
// that one has come.
func TestAReaderBeginsAnewInATopicThatWasMadeAgain(t *testing.T) {
	for _, records := range []int{0, 5, 10, 25} {
		t.Run(strconv.Itoa(records), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, _, c := fakeCluster(t, "orders", 1)
				b.Epoch = 1
				single(t, b, "orders", 0, 10)
				var moves []MovedError
				r := mustReader(t, c, "orders", WhenMoved(func(m *MovedError) { moves = append(moves, *m) }))
				defer r.Close()
				read(t, r, 10)
				synctest.Wait()
				b.With("orders", 0, func(p *clientfake.Partition) {
					*p = clientfake.Partition{Producers: p.Producers, Born: 1}
					b.Epoch = 2
				})
				single(t, b, "orders", 100, 100+records)
				got := read(t, r, records)
				nothing(t, r)
				single(t, b, "orders", 100+records, 130)
				got = append(got, read(t, r, 30-records)...)
				if diff := cmp.Diff(numbers(100, 130), got); diff != "" {
					t.Error(diff)
				}
				want := []MovedError{{Topic: "orders", From: 10, Recreated: true}}
				if diff := cmp.Diff(want, moves); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

func TestRecordsTellTheirEpoch(t *testing.T) {
	b, _, c := fakeCluster(t, "orders", 1)
	b.Epoch = 3
	single(t, b, "orders", 0, 1)
	b.Lose("orders", 0, 0)
	single(t, b, "orders", 1, 2)
	r := mustReader(t, c, "orders")
	defer r.Close()
	var epochs []protocol.Epoch
	for range 2 {
		rec, err := r.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		epochs = append(epochs, rec.Epoch)
	}
	if !slices.Equal(epochs, []protocol.Epoch{3, 4}) {
		t.Errorf("epochs are %v", epochs)
	}
}
