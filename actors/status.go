package actors

import (
	"sync"

	"metaq/protocol"
)

// partitionStatus is what a partition shows to those who must not wait for it:
// its reader, descriptions and metrics. Only the partition writes it, but for
// parked. It outlives a restart of the partition. No lock is held over a call
// of the log.
type partitionStatus struct {
	id      protocol.PartitionID
	born    protocol.Epoch // of the topic, see Topic.Born
	metrics *metrics

	mu        sync.Mutex // guards what follows
	state     partitionState
	epoch     protocol.Epoch
	log       Log // nil unless serving
	committed protocol.Offset
	refusal   *protocol.Error // nil while serving
	trouble   string          // why it does not serve, for people; "" while it opens for the first time
	last      protocol.PartitionInfo
	parked    bool           // the reader holds gets that wait for committed to move
	stop      *stopPartition // once it was told to stop
}

// newPartitionStatus is the status of a partition that opens.
func newPartitionStatus(id protocol.PartitionID, m *metrics) *partitionStatus {
	m.partitions.WithLabelValues(opening.String()).Inc()
	return &partitionStatus{
		id: id, metrics: m,
		refusal: protocol.ErrUnavailable.With("partition %s is opening: try again", id),
	}
}

// drop takes a partition that is no more out of the metrics.
func (s *partitionStatus) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.metrics.partitions.WithLabelValues(s.state.String()).Dec()
}

func (s *partitionStatus) becomeLocked(to partitionState) {
	s.metrics.moved(s.state, to)
	s.state = to
}

// stopRequest remembers that the partition was told to stop (m not nil) and
// returns what it was told, also by a request that an earlier incarnation got.
func (s *partitionStatus) stopRequest(m *stopPartition) *stopPartition {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m != nil {
		s.stop = m
	}
	return s.stop
}

// view is what a reader sees at one moment.
type view struct {
	log     Log
	end     protocol.Offset // committed
	refusal *protocol.Error // when set, the rest is not valid
}

// look returns the present view. With park, whoever changes it next must wake
// the reader.
func (s *partitionStatus) look(park bool) view {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.parked = s.parked || park
	return view{log: s.log, end: s.committed, refusal: s.refusal}
}

// serve shows a log. It returns whether the reader has to be woken, as do commit
// and leave.
func (s *partitionStatus) serve(log Log, epoch protocol.Epoch, committed protocol.Offset) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.becomeLocked(serving)
	s.log, s.epoch, s.committed = log, epoch, committed
	s.refusal, s.trouble = nil, ""
	return s.unparkLocked()
}

// renewed shows a new epoch.
func (s *partitionStatus) renewed(epoch protocol.Epoch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.epoch = epoch
}

// reached is the end of what was ever shown.
func (s *partitionStatus) reached() protocol.Offset {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.committed
}

// lastEpoch is the newest epoch that the partition served under.
func (s *partitionStatus) lastEpoch() protocol.Epoch {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.epoch
}

// commit moves committed.
func (s *partitionStatus) commit(to protocol.Offset) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.committed = to
	return s.unparkLocked()
}

// leave shows that the partition does not serve, and keeps the numbers of the
// log that it gives up.
func (s *partitionStatus) leave(to partitionState, refusal *protocol.Error, trouble string) bool {
	last := s.info()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = last
	s.becomeLocked(to)
	s.log, s.refusal, s.trouble = nil, refusal, trouble
	return s.unparkLocked()
}

func (s *partitionStatus) unparkLocked() bool {
	wake := s.parked
	s.parked = false
	return wake
}

// info describes the partition. It may be called from any goroutine.
func (s *partitionStatus) info() protocol.PartitionInfo {
	s.mu.Lock()
	info, log := s.last, s.log
	info.Partition, info.Home, info.Leader = s.id, s.id.Home, -1
	info.Epoch, info.Error = s.epoch, s.trouble
	if s.state == serving {
		info.Leader = s.id.Home
		info.EndOffset = s.committed
	}
	s.mu.Unlock()
	if log != nil {
		info.LogStart, info.Bytes = log.Start(), log.Size()
	}
	return info
}
