package protocol

import (
	"testing"

	"pgregory.net/rapid"
)

func TestLineageTellsBranchesApart(t *testing.T) {
	first := []EpochStart{{1, 0}}
	cut := []EpochStart{{1, 0}, {2, 50}} // lost what lay beyond 50, and grew again
	for _, c := range []struct {
		name     string
		log      Lineage
		offset   Offset
		epoch    Epoch
		at       Offset
		diverged bool
	}{
		{"where it was", Lineage{0, 100, first}, 100, 1, 100, false},
		{"nothing read yet", Lineage{0, 100, cut}, 0, 0, 0, false},
		{"before the cut", Lineage{0, 100, cut}, 50, 1, 50, false},
		{"read after the cut", Lineage{0, 100, cut}, 51, 2, 51, false},
		{"restarted without a loss", Lineage{0, 100, []EpochStart{{1, 0}, {2, 100}}}, 100, 1, 100, false},
		{"beyond the end", Lineage{0, 50, cut}, 100, 1, 50, true},
		{"beyond the end, epoch not known", Lineage{0, 60, cut}, 100, 0, 60, true},
		{"grown again as far", Lineage{0, 100, cut}, 100, 1, 50, true},
		{"grown again beyond", Lineage{0, 130, cut}, 100, 1, 50, true},
		{"grown again beyond, epoch not known", Lineage{0, 130, cut}, 100, 0, 100, false},
		{"all of an epoch was lost", Lineage{0, 130, []EpochStart{{1, 0}, {3, 50}}}, 100, 2, 50, true},
		{"cut twice", Lineage{0, 130, []EpochStart{{1, 0}, {3, 40}}}, 60, 1, 40, true},
		{"another topic of its name", Lineage{0, 25, []EpochStart{{7, 0}}}, 10, 1, 0, true},
		{"another topic whose start has moved", Lineage{20, 25, []EpochStart{{7, 0}}}, 10, 1, 20, true},
		{"another topic that is empty", Lineage{0, 0, []EpochStart{{7, 0}}}, 10, 1, 0, true},
		{"retention took it", Lineage{70, 130, []EpochStart{{1, 0}, {2, 100}}}, 60, 1, 60, false},
		{"retention took its epoch", Lineage{70, 130, []EpochStart{{2, 65}, {3, 100}}}, 60, 1, 60, false},
		{"retention took where the branches part", Lineage{70, 130, []EpochStart{{3, 65}}}, 80, 1, 70, true},
		{"the epochs went back", Lineage{0, 130, []EpochStart{{1, 0}, {3, 50}}}, 100, 7, 50, true},
		{"the epochs went back, and the end", Lineage{0, 90, []EpochStart{{1, 0}, {3, 50}}}, 100, 7, 90, true},
		{"a release that tells no epochs", Lineage{0, 130, nil}, 100, 1, 100, false},
		{"a release that tells no epochs, beyond the end", Lineage{0, 50, nil}, 100, 1, 50, true},
	} {
		at, diverged := c.log.Diverged(c.offset, c.epoch)
		if at != c.at || diverged != c.diverged {
			t.Errorf("%s: at %d, %v; want %d, %v", c.name, at, diverged, c.at, c.diverged)
		}
	}
}

// A log in which every epoch is a leader's: it may lose its end whenever it is opened.
func TestAPositionOfALogIsFoundOnItOrTakenBackToWhatIsInCommon(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var now []Epoch      // of each record
		var read []Epoch     // of the records that a consumer has seen, at one moment
		lineage := Lineage{} // of now
		open := func(e Epoch) { lineage.Epochs = append(lineage.Epochs, EpochStart{e, Offset(len(now))}) }
		open(1)
		for e, steps := Epoch(1), rapid.IntRange(1, 30).Draw(t, "steps"); steps > 0; steps-- {
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0: // the leader opens the log again, maybe a shorter one
				e++
				now = now[:rapid.IntRange(0, len(now)).Draw(t, "left")]
				for n := len(lineage.Epochs); n > 0 && lineage.Epochs[n-1].First >= Offset(len(now)); n-- {
					lineage.Epochs = lineage.Epochs[:n-1]
				}
				open(e)
			case 1:
				read = append([]Epoch(nil), now[:rapid.IntRange(0, len(now)).Draw(t, "read")]...)
			default:
				for range rapid.IntRange(1, 5).Draw(t, "more") {
					now = append(now, e)
				}
			}
		}
		lineage.EndOffset = Offset(len(now))
		common := 0
		for common < min(len(read), len(now)) && read[common] == now[common] {
			common++
		}
		o, epoch := Offset(len(read)), Epoch(0)
		if o > 0 {
			epoch = read[o-1]
		}
		at, diverged := lineage.Diverged(o, epoch)
		switch {
		case diverged != (common < len(read)):
			t.Fatalf("read %v, the log is %v: diverged is %v", read, now, diverged)
		case at > Offset(common):
			t.Fatalf("read %v, the log is %v: continues at %d, which skips messages from %d on", read, now, at, common)
		case !diverged && lineage.EpochBefore(o) != epoch:
			t.Fatalf("epoch before %d is %d, want %d", o, lineage.EpochBefore(o), epoch)
		}
	})
}
