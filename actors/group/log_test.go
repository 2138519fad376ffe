package group

import (
	"log/slog"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/prometheus/client_golang/prometheus"

	"metaq/actors"
	"metaq/actors/actorstest"
	"metaq/actors/group/core"
	"metaq/protocol"
)

// TestAnUnbrokenStreamOfChangesPutsOffNoCommit: the flush once waited as long as anything was
// staged since it last looked, so a flood of joins to other groups held every commit, until
// their members' sessions had ended.
func TestAnUnbrokenStreamOfChangesPutsOffNoCommit(t *testing.T) {
	for name, drained := range map[string]bool{"between two looks of the flush": true, "while the flush waits in the mailbox": false} {
		t.Run(name, func(t *testing.T) {
			log := slog.New(slog.DiscardHandler)
			system := actors.NewActorSystem(log)
			t.Cleanup(system.Shutdown)
			disk, now := &actorstest.Log{}, time.Unix(1_000_000, 0)
			g := &groups{
				groupsShared: &groupsShared{
					deps: Deps{}.withDefaults(), system: system, log: log, metrics: newGroupsMetrics(prometheus.NewRegistry()),
					now: func() time.Time { return now },
				},
				journal: newGroupLog(disk, core.Images{}, 1<<30),
				claims:  map[string]protocol.Epoch{}, unlogged: map[string]bool{}, begins: newUnmirroredBegins(),
			}
			if err := disk.Open(); err != nil {
				t.Fatal(err)
			}
			done := make(chan protocol.Offset)
			stream := system.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
				if _, ok := ctx.Message().(string); !ok {
					return
				}
				for seq := range uint64(100) { // a change each millisecond, with no end in sight
					now = now.Add(time.Millisecond)
					g.line(ctx, groupWrite{entry: core.Entry{Group: "g"}, from: ctx.Self(), seq: seq})
					if drained && seq%2 == 1 {
						g.flush(ctx, false)
					}
				}
				done <- disk.Next()
			}))
			system.Root.Send(stream, "go")
			if written := <-done; written < 50 {
				t.Errorf("%d of the changes of 100 ms are written: the others, and their answers, wait for the stream to end", written)
			}
			if err := system.Root.PoisonFuture(stream).Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}
