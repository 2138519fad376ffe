package system

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"metaq/actors"
	"metaq/actors/actorstest"
	"metaq/protocol"
)

// Under a relaxed policy a failed sync can take records that were acknowledged and read.
// Others come in their place: under another epoch, or nobody could tell them apart. A log
// that has all that was shown keeps its epoch.
func TestALogThatIsOpenedAgainShorterBeginsANewEpoch(t *testing.T) {
	for name, c := range map[string]struct {
		kept bool
		want []protocol.EpochStart
	}{
		"shorter":   {false, []protocol.EpochStart{{Epoch: 3, First: 0}}},
		"as it was": {true, []protocol.EpochStart{{Epoch: 1, First: 0}}},
	} {
		t.Run(name, func(t *testing.T) {
			actorstest.Bubble(t, func(t *testing.T) {
				r, d := newRig(t, oneTopic)
				d.Resolve = func(string, protocol.TopicConfig) (actors.Settings, error) {
					return actors.Settings{UnflushThreshold: 3, UnflushInterval: time.Hour}, nil
				}
				r.start(d)
				l := r.disk.Log(t, "t-0-0")
				actorstest.OffsetOf(t, r.put("a"))
				actorstest.OffsetOf(t, r.put("b"))
				l.Update(func(l *actorstest.Log) { l.SyncErr, l.KeepUnsynced = actorstest.ErrDisk, c.kept })
				r.put("c")
				time.Sleep(10 * time.Second) //nolint:forbidigo // the bubble's clock
				synctest.Wait()
				actorstest.OffsetOf(t, r.put("d"))
				if diff := cmp.Diff(c.want, l.Epochs()); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}
