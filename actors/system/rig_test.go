package system

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/prometheus/client_golang/prometheus"

	"metaq/actors"
	"metaq/actors/actorstest"
	"metaq/protocol"
)

// rig is a broker over fakes.
type rig struct {
	*System
	t        testing.TB
	disk     *actorstest.Disk
	registry *actorstest.Registry
	routes   atomic.Pointer[actors.Routes]
	tickets  actorstest.Tickets
	probe    *actorstest.Probe
}

// newRig returns a broker that has not been started, and its Deps.
func newRig(t testing.TB, topics ...actors.Topic) (*rig, *Deps) {
	r := &rig{t: t, disk: actorstest.NewDisk(), registry: actorstest.NewRegistry(topics...)}
	system := actors.NewActorSystem(actorstest.QuietLog())
	r.probe = actorstest.NewProbe(system)
	return r, &Deps{
		System: system, Describe: func() protocol.BrokerInfo { return protocol.BrokerInfo{Version: "test"} },
		Registry: r.registry, CloseRegistry: func() error { (&actorstest.Gateway{R: r.registry}).Note("close registry"); return nil },
		Logs: r.disk, Gateway: &actorstest.Gateway{R: r.registry, System: system}, Source: "server.ini",
		Resolve: func(_ string, c protocol.TopicConfig) (actors.Settings, error) {
			s := actors.Settings{}
			if c.UnflushThreshold != nil {
				s.UnflushThreshold = *c.UnflushThreshold
			}
			if c.DeletePolicy != nil && *c.DeletePolicy == "wrong" {
				return s, errors.New("delete_policy is wrong: write delete,168")
			}
			s.NoPublish = c.AcceptPublish != nil && !*c.AcceptPublish
			return s, nil
		},
		Publish: func(routes *actors.Routes) { r.routes.Store(routes) },
		Logger:  actorstest.QuietLog(),
		Options: actors.Options{AutoCreate: true, Partitions: 2, Retry: time.Millisecond, Linger: time.Millisecond},
	}
}

// start starts the broker and stops it with the test.
func (r *rig) start(d *Deps) *rig {
	r.t.Helper()
	s, err := Start(r.t.Context(), *d)
	if err != nil {
		r.t.Fatal(err)
	}
	r.System = s
	r.t.Cleanup(func() {
		if err := s.Stop(context.Background()); err != nil {
			r.t.Errorf("stop: %v", err)
		}
		if held := r.tickets.Held.Load(); held != 0 {
			r.t.Errorf("%d tickets were not given back", held)
		}
		r.disk.Mu.Lock()
		defer r.disk.Mu.Unlock()
		for name, l := range r.disk.Logs {
			if l.IsOpen() {
				r.t.Errorf("log %s is still open", name)
			}
		}
	})
	return r
}

func (r *rig) leader(topic string, n int) *actor.PID {
	r.t.Helper()
	route := r.routes.Load().Topics[topic]
	if route == nil {
		r.t.Fatalf("no route to %s", topic)
	}
	pid, ok := route.Leader(protocol.PartitionID{N: n})
	if !ok || pid == nil {
		r.t.Fatalf("no leader of %s 0-%d", topic, n)
	}
	return pid
}

func (r *rig) send(to *actor.PID, m any) {
	r.env.System.Root.RequestWithCustomSender(to, m, r.probe.Pid)
}

// ask sends a request and returns its answer.
func (r *rig) ask(to *actor.PID, m any) any {
	r.t.Helper()
	r.send(to, m)
	return r.probe.Next(r.t)
}

func (r *rig) admin(m any) any {
	r.t.Helper()
	return r.ask(r.env.System.NewLocalPID(actors.TopicsActor), m)
}

func (r *rig) putTo(topic string, n int, value string) any {
	r.t.Helper()
	return r.ask(r.leader(topic, n), actorstest.Together(actors.Put{Record: protocol.Record{Value: []byte(value)}, Ticket: r.tickets.Take()}))
}

func (r *rig) get(topic string, n int, req protocol.GetRequest) any {
	r.t.Helper()
	return r.ask(r.leader(topic, n), &actors.Get{Request: req, Ticket: r.tickets.Take()})
}

// wait polls until the condition holds.
func (r *rig) wait(what string, condition func() bool) {
	r.t.Helper()
	actorstest.WaitFor(r.t, what, condition)
}

// gauge returns what a gauge without labels shows.
func gauge(t testing.TB, metrics *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("no gauge %s", name)
	return 0
}
