package actors

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

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
			bubble(t, func(t *testing.T) {
				r, d := newRig(t, oneTopic)
				d.Resolve = func(string, protocol.TopicConfig) (Settings, error) {
					return Settings{UnflushThreshold: 3, UnflushInterval: time.Hour}, nil
				}
				r.start(d)
				l := r.disk.log(t, "t-0-0")
				offsetOf(t, r.put("a"))
				offsetOf(t, r.put("b"))
				l.update(func(l *fakeLog) { l.syncErr, l.keepUnsynced = errDisk, c.kept })
				r.put("c")
				time.Sleep(10 * time.Second) //nolint:forbidigo // the bubble's clock
				synctest.Wait()
				offsetOf(t, r.put("d"))
				if diff := cmp.Diff(c.want, l.Epochs()); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}
