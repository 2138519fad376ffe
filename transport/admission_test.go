package transport

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"metaq/protocol"
)

func TestAdmission(t *testing.T) {
	for _, tc := range []struct {
		name     string
		all, own Limits
		admitted []int // sizes in flight
		next     int   // size of what comes next
		ok       bool
		requests int // that it is; 0: 1
	}{
		{"room for one more", Limits{2, 100}, Limits{2, 100}, []int{50}, 50, true, 0},
		{"too many in the partition", Limits{9, 100}, Limits{1, 100}, []int{1}, 1, false, 0},
		{"too many in all", Limits{1, 100}, Limits{9, 100}, []int{1}, 1, false, 0},
		{"too many bytes in the partition", Limits{9, 100}, Limits{9, 60}, []int{50}, 11, false, 0},
		{"too many bytes in all", Limits{9, 60}, Limits{9, 100}, []int{50}, 11, false, 0},
		{"larger than the limit but alone", Limits{9, 60}, Limits{9, 60}, nil, 1000, true, 0},
		{"larger than the limit and not alone", Limits{9, 60}, Limits{9, 60}, []int{1}, 1000, false, 0},
		{"together, and as many as there is room for", Limits{3, 60}, Limits{3, 60}, []int{10}, 50, true, 2},
		{"together too many", Limits{9, 60}, Limits{2, 60}, []int{10}, 2, false, 2},
		{"together too large", Limits{9, 60}, Limits{9, 60}, []int{10}, 51, false, 2},
		{"together larger than the limit and alone", Limits{9, 60}, Limits{9, 60}, nil, 61, false, 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := newAccount(newBudget(tc.all), tc.own)
			for _, n := range tc.admitted {
				if err := a.admit(1, n); err != nil {
					t.Fatal(err)
				}
			}
			if err := a.admit(max(1, tc.requests), tc.next); (err == nil) != tc.ok || err != nil && !errors.Is(err, protocol.ErrBusy) {
				t.Errorf("admit(%d) = %v, want admitted %v", tc.next, err, tc.ok)
			}
		})
	}
}

func TestAdmissionGivesBackWhatItTook(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := newBudget(Limits{5, 500})
		accounts := []*account{newAccount(all, Limits{3, 300}), newAccount(all, Limits{3, 300})}
		held := make([][]int, 2)
		for range rapid.IntRange(1, 100).Draw(t, "steps") {
			i := rapid.IntRange(0, 1).Draw(t, "account")
			if rapid.Bool().Draw(t, "admit") {
				requests, n := rapid.IntRange(1, 4).Draw(t, "requests"), rapid.IntRange(0, 400).Draw(t, "size")
				if accounts[i].admit(requests, requests*n) == nil {
					held[i] = append(held[i], slices.Repeat([]int{n}, requests)...)
				}
			} else if len(held[i]) > 0 {
				accounts[i].Release(1, held[i][0])
				held[i] = held[i][1:]
			}
			var count, bytes int64
			for i := range accounts {
				var own int64
				for _, n := range held[i] {
					own += int64(n)
				}
				if accounts[i].own.bytes.Load() != own || accounts[i].own.requests.Load() != int64(len(held[i])) {
					t.Fatalf("account %d says %d bytes, held are %v", i, accounts[i].own.bytes.Load(), held[i])
				}
				count, bytes = count+int64(len(held[i])), bytes+own
			}
			if all.bytes.Load() != bytes || all.requests.Load() != count {
				t.Fatalf("the total says %d bytes, held are %v", all.bytes.Load(), held)
			}
		}
	})
}

func TestAdmissionIsSafeForConcurrentUse(t *testing.T) {
	a := newAccount(newBudget(Limits{4, 40}), Limits{4, 40})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				if a.admit(1, 10) == nil {
					if n := a.all.requests.Load(); n < 1 {
						t.Errorf("%d in flight while one is", n)
					}
					a.Release(1, 10)
				}
			}
		})
	}
	wg.Wait()
	if a.all.requests.Load() != 0 || a.all.bytes.Load() != 0 || a.own.bytes.Load() != 0 {
		t.Errorf("%d requests and %d bytes are left", a.all.requests.Load(), a.all.bytes.Load())
	}
}
