package powercut

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"metaq/actors"
	"metaq/internal/vfs/faultfs"
)

var (
	seeds = flag.Int("seeds", 4000, "simulate one world for each worldsPer of them")
	seed  = flag.Uint64("seed", 0, "simulate this world alone")
)

// worldsPer is how much dearer a world of this package is than one of
// metaq/persistence, for which -seeds is meant.
const worldsPer = 20

// setting is a row of the table in docs/durability.md.
type setting int

const (
	synced       setting = iota // unflushThreshold=0
	byCount                     // unflushThreshold=N, the interval never comes
	byTime                      // unflushInterval=T, the count is never reached
	byEither                    // both
	settingCount                // their number
)

func (s setting) String() string { return [...]string{"0", "N", "interval", "N or interval"}[s] }

// cost is what power cuts did in one setting.
type cost struct {
	cuts    int           // power cuts
	acked   int           // messages acknowledged
	lost    int           // of them
	most    int           // lost by one cut
	nearest int           // cuts that cost all that N allows
	longest time.Duration // from an acknowledgement to the cut that lost it
}

func (c cost) String() string {
	return fmt.Sprintf("%d power cuts, %d acknowledged, %d lost, at most %d by one cut, at most %s after their acknowledgement",
		c.cuts, c.acked, c.lost, c.most, c.longest)
}

// world is one machine whose power fails again and again.
type world struct {
	rng      *rand.Rand
	fs       *faultfs.FS
	registry registry
	system   *actor.ActorSystem
	machine  *machine // nil while it is off
	kind     setting
	policy   actors.Settings // what the table is about
	segment  int64

	held []string // what the log holds, by offset
	n    int      // values sent
	cost *cost
}

// simulate runs the world of one seed. plant changes the settings that the broker
// gets, to prove that the oracle would notice; nil means that it does not.
func simulate(t *testing.T, seed uint64, costs *[settingCount]cost, plant func(*actors.Settings)) (err error) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{rng: rand.New(rand.NewPCG(seed, 2)), fs: faultfs.New(seed), system: newSystem()}
		w.kind = setting(w.rng.IntN(int(settingCount)))
		w.segment = int64(1000 + w.rng.IntN(20_000))
		w.policy.UnflushInterval = 24 * time.Hour
		if w.kind != synced {
			w.policy.UnflushThreshold = 1_000_000
		}
		if w.kind == byCount || w.kind == byEither {
			w.policy.UnflushThreshold = 1 + w.rng.IntN(30)
		}
		if w.kind == byTime || w.kind == byEither {
			w.policy.UnflushInterval = time.Duration(1+w.rng.IntN(10_000)) * time.Millisecond
		}
		w.cost = &costs[w.kind]
		set := w.policy
		if plant != nil {
			plant(&set)
		}
		for range 2 + w.rng.IntN(3) {
			if err = w.live(t.Context(), set); err != nil {
				break
			}
		}
		if err = errors.Join(err, w.halt()); err != nil {
			err = fmt.Errorf("seed %d, unflushThreshold=%d, unflushInterval=%s: %w",
				seed, w.policy.UnflushThreshold, w.policy.UnflushInterval, err)
		}
		// The actor library's limiter of its log lines waits for a second after a dead letter,
		// and no goroutine may outlive the bubble.
		time.Sleep(2 * time.Second) //nolint:forbidigo // the bubble's clock
	})
	return err
}

// live puts messages until the power fails, boots again and judges.
func (w *world) live(ctx context.Context, set actors.Settings) error {
	if w.machine == nil {
		if err := w.boot(ctx, set); err != nil {
			return err
		}
	}
	cut := w.load(w.machine)
	acked := w.machine.inbox.acks()
	if err := w.halt(); err != nil {
		return err
	}
	w.fs = w.fs.Crash([]int{0, 0, 50, 100}[w.rng.IntN(4)])
	if err := w.boot(ctx, set); err != nil {
		return err
	}
	found, err := w.machine.readAll()
	if err != nil {
		return err
	}
	return w.judge(found, acked, cut)
}

func (w *world) boot(ctx context.Context, set actors.Settings) (err error) {
	w.machine, err = boot(ctx, w.system, w.fs, &w.registry, set, w.segment)
	return err
}

// halt ends the actors, if they run; the machine may be without power.
func (w *world) halt() error {
	m := w.machine
	if m == nil {
		return nil
	}
	w.machine = nil
	w.fs.SetHook(nil)
	return m.stop()
}

// load puts messages until the power fails, at a random operation of the disk or
// between two, and returns when it did.
func (w *world) load(m *machine) (cut time.Time) {
	at, ops := 1+w.rng.IntN(60), 0
	keep := w.rng.Uint32()
	w.fs.SetHook(func(op faultfs.Op) *faultfs.Fault {
		if !op.Kind.Changes() {
			return nil
		}
		if ops++; ops != at {
			return nil
		}
		cut = time.Now()
		return w.fs.Stopped(int(keep % uint32(op.Len+1)))
	})
	for range 1 + w.rng.IntN(60) {
		for range 1 + w.rng.IntN(1+w.rng.IntN(12)) {
			m.put(fmt.Sprintf("%d:%s", w.n, strings.Repeat("x", w.rng.IntN(300))))
			w.n++
		}
		if w.rng.IntN(3) > 0 {
			synctest.Wait()
		}
		if w.rng.IntN(3) == 0 {
			time.Sleep(time.Duration(w.rng.Int64N(int64(min(w.policy.UnflushInterval, time.Minute))))) //nolint:forbidigo // the bubble's clock
		}
	}
	synctest.Wait()
	if cut.IsZero() {
		w.fs.Stop()
		cut = time.Now()
	}
	return cut
}

// judge compares what was found with what was acknowledged. What was there before
// this life is durable.
func (w *world) judge(found []string, acked []ack, cut time.Time) error {
	if len(found) < len(w.held) {
		return fmt.Errorf("%d messages were recovered once, now there are %d", len(w.held), len(found))
	}
	last := -1
	for offset, value := range found {
		if offset < len(w.held) && value != w.held[offset] {
			return fmt.Errorf("message %d was %.20s and is %.20s", offset, w.held[offset], value)
		}
		var n int
		if _, err := fmt.Sscanf(value, "%d:", &n); err != nil || n <= last || n >= w.n {
			return fmt.Errorf("message %d is %.20s, which does not follow number %d of %d that were sent", offset, value, last, w.n)
		}
		last = n
	}
	w.held = found
	w.cost.cuts++
	w.cost.acked += len(acked)
	lost := 0
	for _, a := range acked {
		if int(a.offset) < len(found) {
			continue
		}
		lost++
		w.cost.longest = max(w.cost.longest, cut.Sub(a.at))
		if age := cut.Sub(a.at); age > w.policy.UnflushInterval {
			return fmt.Errorf("message %d was acknowledged %s before the cut and is lost", a.offset, age)
		}
	}
	w.cost.lost += lost
	w.cost.most = max(w.cost.most, lost)
	if limit := max(w.policy.UnflushThreshold-1, 0); lost > limit {
		return fmt.Errorf("%d acknowledged messages are lost, at most %d may be", lost, limit)
	}
	if w.kind == byCount && lost == w.policy.UnflushThreshold-1 {
		w.cost.nearest++
	}
	return nil
}

// TestCrashCostsWhatTheTableSays asserts the table of docs/durability.md: with
// unflushThreshold=0 a power cut costs no acknowledged message, with N fewer than
// N, and none that was acknowledged longer than unflushInterval ago.
func TestCrashCostsWhatTheTableSays(t *testing.T) {
	var costs [settingCount]cost
	if *seed != 0 {
		if err := simulate(t, *seed, &costs, nil); err != nil {
			t.Fatal(err)
		}
		return
	}
	began, worlds := time.Now(), *seeds/worldsPer
	for s := uint64(1); s <= uint64(worlds); s++ {
		if err := simulate(t, s, &costs, nil); err != nil {
			t.Fatalf("%v\nrepeat it with: go test ./test/powercut -run Crash -seed=%d", err, s)
		}
	}
	t.Logf("%d worlds in %s", worlds, time.Since(began).Round(time.Millisecond))
	for s, c := range costs {
		t.Logf("%-13s %s", setting(s), c)
		// A simulation in which nothing is ever lost would assert nothing.
		if worlds >= 200 && (c.cuts == 0 || setting(s) != synced && c.lost == 0) {
			t.Errorf("%s: the power cuts cost nothing", setting(s))
		}
	}
	if worlds >= 200 && costs[byCount].nearest == 0 {
		t.Error("no power cut ever cost N-1 messages: the bound is not reached")
	}
}

// TestTheTableWouldNotice gives the broker other settings than the table is told
// of and wants the oracle to say so.
func TestTheTableWouldNotice(t *testing.T) {
	for name, plant := range map[string]func(*actors.Settings){
		"acknowledges before the sync": func(s *actors.Settings) {
			if s.UnflushThreshold == 0 {
				s.UnflushThreshold = 1000
			}
		},
		"syncs one message too late": func(s *actors.Settings) {
			if s.UnflushThreshold > 0 {
				s.UnflushThreshold++
			}
		},
		"syncs a tenth too late": func(s *actors.Settings) { s.UnflushInterval += s.UnflushInterval / 10 },
	} {
		t.Run(name, func(t *testing.T) {
			var costs [settingCount]cost
			for s := uint64(1); s <= 1000; s++ {
				if err := simulate(t, s, &costs, plant); err != nil {
					t.Logf("caught: %v", err)
					return
				}
			}
			t.Fatal("a thousand worlds did not notice")
		})
	}
}
