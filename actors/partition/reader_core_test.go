package partition

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"metaq/actors"
	"metaq/actors/actorstest"
	"metaq/protocol"
)

func TestGetsThatWaitForTheirNextAnswerAreNotForgotten(t *testing.T) {
	var c readerCore
	c.park(fetch{from: 1})
	c.goOn(fetch{from: 2, answers: 3}, 4, 1)
	c.goOn(fetch{from: 3, answers: 2}, 5, 1)
	if f, ok := c.nextGoing(); !ok || f.from != 4 || f.answers != 2 {
		t.Errorf("the first in turn is %+v, %v", f, ok)
	}
	if all := c.all(); len(all) != 2 || all[0].from != 1 || all[1].from != 5 {
		t.Errorf("all that wait are %+v", all)
	}
	if _, ok := c.nextGoing(); ok || len(c.all()) != 0 {
		t.Error("they were handed out and are still there")
	}
}

func TestAReaderMissesNoMessageThatComesWhileItParks(t *testing.T) {
	actorstest.Bubble(t, func(t *testing.T) {
		system := actors.NewActorSystem(actorstest.QuietLog())
		asker, l := actorstest.NewProbe(system), new(actorstest.Log)
		env := NewEnv(actors.NewEnv(system, 0, actors.Options{}, actorstest.QuietLog(), time.Now, nil), Deps{})
		defer env.Finish()
		b := actorstest.EncodeBatch(t, protocol.Producer{ID: protocol.NoProducer}, 1)
		protocol.StampBatch(b, protocol.Stamp{Epoch: 1})
		if err := errors.Join(l.Open(), l.SetEpoch(1), l.Append(b, nil), l.Sync()); err != nil {
			t.Fatal(err)
		}
		status := NewStatus(protocol.PartitionID{}, env)
		status.serve(l, 1, 0)
		l.Update(func(l *actorstest.Log) { l.OnStart = func() { status.commit(1) } })
		pid, err := actors.Spawn(system.Root, "side", actorstest.QuietLog(), func() actors.Receiver { return newReader(env, "t", status) })
		if err != nil {
			t.Fatal(err)
		}
		var held actorstest.Tickets
		began := time.Now()
		system.Root.RequestWithCustomSender(pid, &actors.Get{Request: protocol.GetRequest{WaitMs: 5000}, Ticket: held.Take()}, asker.Pid)
		if diff := cmp.Diff([]string{"-1/0/0"}, actorstest.Values(t, asker.Next(t))); diff != "" || time.Since(began) != 0 {
			t.Fatalf("after %s: %s", time.Since(began), diff)
		}
		if err := system.Root.StopFuture(pid).Wait(); err != nil {
			t.Fatal(err)
		}
		if n := held.Held.Load(); n != 0 {
			t.Errorf("%d tickets were not given back", n)
		}
	})
}
