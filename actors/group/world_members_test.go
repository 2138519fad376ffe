package group

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"metaq/actors/group/core"
	"metaq/protocol"
)

// The members and operators of a groupWorld.

// ask makes one request of a member, or of an operator; answered reports whether the answer
// came to it.
func (w *groupWorld) ask(request func(*core.Group, any) core.Effects) (value any, answered bool) {
	b := w.coordinator()
	to := new(int)
	dies := !w.quiet && w.pick(25) == 0 // between the step and its answer
	w.do(b, request(b.core, to), func(a, v any) {
		if a == to {
			value, answered = v, !dies
			return
		}
		w.take(a, v)
	})
	if dies {
		w.lose(b)
	}
	return value, answered
}

// take carries out what an answer to an earlier request says.
func (w *groupWorld) take(to, value any) {
	id, ok := to.(string)
	if !ok || w.members[id] == nil {
		return
	}
	m := w.members[id]
	switch v := value.(type) {
	case protocol.GroupView:
		if v.Generation < w.generation {
			w.fail("a member was told generation %d after %d", v.Generation, w.generation)
		}
		w.generation, m.view, m.heard = v.Generation, v, w.now
		for _, t := range m.join.Topics {
			w.told[t] = true
		}
		for _, p := range v.Assigned {
			if _, works := m.working[p.At()]; !works {
				m.working[p.At()], m.since[p.At()] = core.PlaceIn(&p), w.step
			}
		}
		for at := range m.working {
			if !slices.ContainsFunc(v.Assigned, func(p protocol.GroupPosition) bool { return p.At() == at }) && !slices.Contains(v.Release, at) {
				delete(m.working, at)
			}
		}
	case error:
		if errors.Is(v, protocol.ErrNoMember) || errors.Is(v, protocol.ErrInstance) {
			delete(w.members, id)
		}
	}
}

func (w *groupWorld) join() {
	w.named++
	r := protocol.GroupJoin{Member: fmt.Sprintf("m%d", w.named), Topics: []string{"a"}, SessionMs: int(worldSession.Milliseconds())}
	for _, t := range []string{"b", "c"} {
		if w.pick(3) > 0 {
			r.Topics = append(r.Topics, t)
		}
	}
	if w.pick(3) == 0 {
		r.Instance = "i"
	}
	switch w.pick(6) {
	case 0:
	case 1:
		r.Start = protocol.GroupPlace{At: protocol.StartOffset, Offset: protocol.Offset(w.pick(20))}
	default:
		r.Start.At = protocol.StartLatest
	}
	if err := r.Check(); err != nil {
		panic(err)
	}
	w.members[r.Member] = &worldMember{
		join: r, heard: w.now, working: map[protocol.TopicPartition]core.Place{}, since: map[protocol.TopicPartition]int{},
	}
	b := w.coordinator()
	w.do(b, b.core.Join(w.now, r, r.Member), w.take)
}

func (w *groupWorld) beat(id string) {
	m := w.members[id]
	r := protocol.GroupHeartbeat{Member: id, Instance: m.join.Instance, Generation: m.view.Generation, Revision: m.view.Revision}
	for _, at := range m.view.Release {
		if w.pick(3) > 0 {
			delete(m.working, at)
			r.Released = append(r.Released, at)
		}
	}
	b := w.coordinator()
	w.do(b, b.core.Heartbeat(w.now, r, id), w.take)
}

// work lets a member process records, and mostly commit them.
func (w *groupWorld) work(id string) {
	m := w.members[id]
	r := protocol.GroupCommit{Member: id, Instance: m.join.Instance, Generation: m.view.Generation}
	for _, at := range slices.SortedFunc(maps.Keys(m.working), protocol.TopicPartition.Compare) {
		log, o := w.log(at), m.working[at]
		n := w.pick(5)
		if w.quiet {
			n = 100
		}
		for range n {
			lineage := log.lineage()
			if to, diverged := lineage.Diverged(o.Offset, o.Epoch); diverged {
				o = core.Place{Offset: to, Epoch: lineage.EpochBefore(to)} // the get was refused
			}
			if int(o.Offset) == len(log.records) {
				break
			}
			record := log.records[o.Offset]
			record.processed = true
			o = core.Place{Offset: o.Offset + 1, Epoch: record.epoch}
		}
		m.working[at] = o
		r.Offsets = append(r.Offsets, protocol.GroupPosition{Topic: at.Topic, Partition: at.Partition, Offset: o.Offset, Epoch: o.Epoch})
	}
	if len(r.Offsets) > 0 && w.pick(4) > 0 {
		w.commit(m, r)
	}
}

// commit does what group.commit does, and judges the answer.
func (w *groupWorld) commit(m *worldMember, r protocol.GroupCommit) {
	b := w.coordinator()
	for i := range r.Offsets {
		o := &r.Offsets[i]
		if p := b.core.Parts[o.At()]; p != nil && o.Offset <= p.Log.EndOffset && !b.core.Strays(o) {
			continue
		}
		if w.pick(4) == 0 {
			continue // its leader does not answer
		}
		log := w.log(o.At()).lineage()
		w.do(b, b.core.Placed(w.now, b.core.Question(o.At()), log, nil), w.take)
		if _, diverged := log.Diverged(o.Offset, o.Epoch); diverged || o.Offset > log.EndOffset {
			return // refused
		}
	}
	value, answered := w.ask(func(c *core.Group, to any) core.Effects { return c.Commit(w.now, r, to) })
	if err, refused := value.(error); refused && answered {
		w.take(r.Member, err)
		return
	}
	if !answered {
		return
	}
	m.heard = w.now
	if r.Generation < w.generation {
		w.fail("a commit of generation %d was taken after generation %d was told", r.Generation, w.generation)
	}
	for _, o := range r.Offsets {
		last := w.accepted[o.At()]
		if last.member != r.Member && last.member != "" && m.since[o.At()] < last.step {
			w.fail("%s and %s both own %s: both commits were taken", last.member, r.Member, o.At())
		}
		w.accepted[o.At()] = worldCommit{r.Member, w.step, b.core, max(o.Offset, last.offset)}
	}
}
