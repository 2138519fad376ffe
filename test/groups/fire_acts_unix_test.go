//go:build unix

package groups

import (
	"errors"
	"slices"
	"syscall"
	"time"

	"metaq/client"
)

// act is something that happens to the group.
type act func(*fire)

// calm are the acts around which no record may come twice, and incidents the others.
var (
	calm      = []act{(*fire).enters, (*fire).leaves}
	incidents = []act{
		(*fire).memberIsKilled, (*fire).memberIsPaused, (*fire).memberIsCutOff, (*fire).memberIsRestarted,
		(*fire).brokerIsRestarted, (*fire).brokerIsKilled,
	}
)

// leaves ends a member in order. A static one will not come back.
func (f *fire) leaves() {
	m := f.out()
	f.check(m.leave())
	if m.plan.Instance == "" {
		return
	}
	await(f.t, "the static member to be removed", func() bool {
		err := f.c.Admin().GroupRemove(f.t.Context(), "g", m.plan.Instance)
		return err == nil || errors.Is(err, client.ErrNoMember)
	})
}

// kills ends a member as kill -9 does.
func (f *fire) kills(m *memberProcess) {
	f.check(m.kill())
	f.j.dead(m.plan.Name, time.Now())
}

func (f *fire) memberIsKilled() {
	m := f.out()
	over := f.j.happens("member killed", m.plan.Name, time.Now())
	f.kills(m)
	over(time.Now().Add(memberSession))
}

// memberIsRestarted kills a member and starts it again at once, under its name if it is
// static.
func (f *fire) memberIsRestarted() {
	m := f.out()
	over := f.j.happens("member restarted", m.plan.Name, time.Now())
	f.kills(m)
	f.start(m.plan)
	over(time.Now().Add(memberSession))
}

func (f *fire) memberIsPaused() {
	m := f.any()
	over := f.j.happens("member paused", m.plan.Name, time.Now())
	f.check(m.cmd.Process.Signal(syscall.SIGSTOP))
	f.wait(memberSession * 2)
	f.check(m.cmd.Process.Signal(syscall.SIGCONT))
	over(time.Now())
}

// memberIsCutOff lets a member lose its connection for good: it has to see for itself
// that its session is over.
func (f *fire) memberIsCutOff() {
	m := f.out()
	over := f.j.happens("member cut off", m.plan.Name, time.Now())
	f.check(m.cut())
	await(f.t, m.plan.Name+" stops by itself", func() bool {
		for _, names := range f.j.workers() {
			if slices.Contains(names, m.plan.Name) {
				return false
			}
		}
		return true
	})
	f.kills(m)
	over(time.Now())
}

func (f *fire) brokerIsRestarted() {
	over := f.j.happens("broker restarted", "", time.Now())
	b := f.brokers[f.r.IntN(len(f.brokers))]
	b.Stop()
	b.Start()
	over(time.Now())
}

func (f *fire) brokerIsKilled() {
	over := f.j.happens(brokerKilled, "", time.Now())
	b := f.brokers[f.r.IntN(len(f.brokers))]
	b.Kill()
	b.Start()
	over(time.Now())
}

// step lets a happen to a group of 3 to 5, and time pass.
func (f *fire) step(a act) {
	for len(f.members) < 3 {
		f.enters()
	}
	for len(f.members) > 5 {
		f.leaves()
	}
	a(f)
	f.wait(time.Second)
}

// handOver lets members come and go in order.
func (f *fire) handOver() {
	for _, what := range []act{(*fire).enters, (*fire).enters, (*fire).leaves, (*fire).enters} {
		what(f)
		f.settle()
		f.wait(300 * time.Millisecond)
	}
}
