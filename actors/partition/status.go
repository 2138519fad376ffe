package partition

import (
	"sync"

	"metaq/actors"
	"metaq/protocol"
)

// Status is what a partition shows to those who must not wait for it:
// its reader, descriptions and metrics. Only the partition writes it, but for
// parked. It outlives a restart of the partition. No lock is held over a call
// of the log.
type Status struct {
	ID      protocol.PartitionID
	Born    protocol.Epoch // of the topic, see Topic.Born
	metrics *metrics

	mu        sync.Mutex // guards what follows
	state     State
	epoch     protocol.Epoch
	log       actors.Log // nil unless serving
	committed protocol.Offset
	refusal   *protocol.Error // nil while serving
	trouble   string          // why it does not serve, for people; "" while it opens for the first time
	last      protocol.PartitionInfo
	parked    bool  // the reader holds gets that wait for committed to move
	stop      *Stop // once it was told to stop
}

// NewStatus is the status of a partition that opens.
func NewStatus(id protocol.PartitionID, e *Env) *Status {
	m := e.metrics
	m.partitions.WithLabelValues(opening.String()).Inc()
	return &Status{
		ID: id, metrics: m,
		refusal: protocol.ErrUnavailable.With("partition %s is opening: try again", id),
	}
}

// Drop takes a partition that is no more out of the metrics.
func (s *Status) Drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.metrics.partitions.WithLabelValues(s.state.String()).Dec()
}

func (s *Status) becomeLocked(to State) {
	s.metrics.moved(s.state, to)
	s.state = to
}

// stopRequest remembers that the partition was told to stop (m not nil) and
// returns what it was told, also by a request that an earlier incarnation got.
func (s *Status) stopRequest(m *Stop) *Stop {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m != nil {
		s.stop = m
	}
	return s.stop
}

// view is what a reader sees at one moment.
type view struct {
	log     actors.Log
	end     protocol.Offset // committed
	refusal *protocol.Error // when set, the rest is not valid
}

// look returns the present view. With park, whoever changes it next must wake
// the reader.
func (s *Status) look(park bool) view {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.parked = s.parked || park
	return view{log: s.log, end: s.committed, refusal: s.refusal}
}

// serve shows a log. It returns whether the reader has to be woken, as do commit
// and leave.
func (s *Status) serve(log actors.Log, epoch protocol.Epoch, committed protocol.Offset) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.becomeLocked(serving)
	s.log, s.epoch, s.committed = log, epoch, committed
	s.refusal, s.trouble = nil, ""
	return s.unparkLocked()
}

// renewed shows a new epoch.
func (s *Status) renewed(epoch protocol.Epoch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.epoch = epoch
}

// reached is the end of what was ever shown.
func (s *Status) reached() protocol.Offset {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.committed
}

// lastEpoch is the newest epoch that the partition served under.
func (s *Status) lastEpoch() protocol.Epoch {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.epoch
}

// commit moves committed.
func (s *Status) commit(to protocol.Offset) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.committed = to
	return s.unparkLocked()
}

// Leave shows that the partition does not serve, and keeps the numbers of the
// log that it gives up.
func (s *Status) Leave(to State, refusal *protocol.Error, trouble string) bool {
	last := s.Info()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = last
	s.becomeLocked(to)
	s.log, s.refusal, s.trouble = nil, refusal, trouble
	return s.unparkLocked()
}

func (s *Status) unparkLocked() bool {
	wake := s.parked
	s.parked = false
	return wake
}

// Info describes the partition. It may be called from any goroutine.
func (s *Status) Info() protocol.PartitionInfo {
	s.mu.Lock()
	info, log := s.last, s.log
	info.Partition, info.Home, info.Leader = s.ID, s.ID.Home, -1
	info.Epoch, info.Error = s.epoch, s.trouble
	if s.state == serving {
		info.Leader = s.ID.Home
		info.EndOffset = s.committed
	}
	s.mu.Unlock()
	if log != nil {
		info.LogStart, info.Bytes = log.Start(), log.Size()
	}
	return info
}
