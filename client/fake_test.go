package client

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"metaq/protocol"
)

// fakeBroker is a broker in memory: the leader of all its partitions. It keeps
// the rules that the client relies on, above all the one about producers: the
// last five batches of each are recognised; a gap in the sequence, a sequence
// that does not begin with 0 and an older epoch are refused.
type fakeBroker struct {
	mu         sync.Mutex
	topics     map[string]*fakeTopic
	autoCreate bool
	maxMessage int
	epoch      protocol.Epoch
	changed    chan struct{} // closed and replaced at each append
	requests   int           // batches that arrived, duplicates too
	granted    int64         // producer ids
	old        bool          // does not grant ids
	// clock stamps the records.
	clock func() time.Time
}

type fakeTopic struct {
	name  string
	parts map[PartitionID]*fakePartition
}

type fakePartition struct {
	id        PartitionID
	leaderOff bool // no leader: requests get no responders
	start     Offset
	end       Offset
	batches   [][]byte
	born      protocol.Epoch // of the topic
	jump      bool           // updateConsumerOffsets
	producers map[int64]*fakeProducer
}

type fakeProducer struct {
	epoch  int16
	next   int32
	recent []fakeRecent
}

type fakeRecent struct {
	sequence int32
	count    int
	first    Offset
}

func newFakeBroker() *fakeBroker {
	return &fakeBroker{
		topics: make(map[string]*fakeTopic), maxMessage: 1 << 20, changed: make(chan struct{}), clock: time.Now,
	}
}

// create adds partitions 0-0 to 0-(n-1), or those that are missing.
func (b *fakeBroker) create(topic string, n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.createLocked(topic, n)
}

func (b *fakeBroker) createLocked(topic string, n int) *fakeTopic {
	t := b.topics[topic]
	if t == nil {
		t = &fakeTopic{name: topic, parts: make(map[PartitionID]*fakePartition)}
		b.topics[topic] = t
	}
	for i := range n {
		id := PartitionID{N: i}
		if t.parts[id] == nil {
			t.parts[id] = &fakePartition{id: id, producers: make(map[int64]*fakeProducer)}
		}
	}
	return t
}

// with gives f a partition, guarded.
func (b *fakeBroker) with(topic string, n int, f func(*fakePartition)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f(b.topics[topic].parts[PartitionID{N: n}])
	b.wakeLocked()
}

// arrived is the number of batches that came.
func (b *fakeBroker) arrived() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.requests
}

func (b *fakeBroker) wakeLocked() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// records decodes everything that a partition holds.
func (b *fakeBroker) records(t testing.TB, topic string, n int) []Record {
	t.Helper()
	var out []Record
	b.with(topic, n, func(p *fakePartition) {
		for _, data := range p.batches {
			h, err := protocol.CheckBatch(data, 0)
			if err != nil {
				t.Fatal(err)
			}
			for r, err := range protocol.DecodeRecords(&h, data) {
				if err != nil {
					t.Fatal(err)
				}
				out = append(out, Record{
					Topic: topic, Partition: p.id, Offset: r.Offset, Time: time.UnixMilli(r.Time).UTC(),
					Key: r.Key, Value: r.Value, Headers: r.Headers,
				})
			}
		}
	})
	return out
}

// errNobody is handle's way to say "no responders".
var errNobody = errors.New("nobody there")

// handle answers one request; the error is errNobody or ctx's.
func (b *fakeBroker) handle(ctx context.Context, subject string, data []byte) ([]byte, error) {
	tokens := strings.Split(subject, ".")
	switch {
	case len(tokens) == 4 && tokens[1] == "admin":
		return b.admin(tokens[2]+"."+tokens[3], data)
	case len(tokens) != 4:
		return nil, errNobody
	}
	id, err := protocol.ParsePartitionID(tokens[3])
	if err != nil {
		return nil, errNobody
	}
	switch tokens[1] {
	case protocol.OpBatch:
		return b.put(tokens[2], id, data)
	case protocol.OpGet:
		return b.get(ctx, tokens[2], id, data)
	case protocol.OpOffsets:
		return b.offsets(tokens[2], id, data)
	default:
		return nil, errNobody
	}
}

// findLocked returns a partition that has a leader, or nil.
func (b *fakeBroker) findLocked(topic string, id PartitionID) *fakePartition {
	if t := b.topics[topic]; t != nil && t.parts[id] != nil && !t.parts[id].leaderOff {
		return t.parts[id]
	}
	return nil
}

func (b *fakeBroker) put(topic string, id PartitionID, data []byte) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.findLocked(topic, id)
	if p == nil {
		return nil, errNobody
	}
	b.requests++
	h, err := protocol.CheckBatch(data, 0)
	if err != nil {
		return protocol.EncodeError(protocol.ErrBatchRefused.With("%v", err)), nil
	}
	first, duplicate, err := p.number(&h)
	if err != nil {
		return protocol.EncodeError(err), nil
	}
	if !duplicate {
		data = slices.Clone(data)
		protocol.StampBatch(data, protocol.Stamp{
			Base: p.end, Epoch: b.epoch, MaxTime: b.clock().UnixMilli(), MetaqLen: h.MetaqLen,
		})
		p.batches = append(p.batches, data)
		p.end += Offset(h.Count)
		b.wakeLocked()
	}
	ack := protocol.NewPubAck(topic, id, first, h.Count)
	ack.Duplicate = duplicate
	return ack.Append(nil), nil
}

// number applies the rule about producers and returns the first offset.
func (p *fakePartition) number(h *protocol.BatchHeader) (Offset, bool, error) {
	known := p.producers[h.ProducerID]
	if known == nil && h.BaseSequence != 0 {
		return 0, false, protocol.ErrNewProducer
	}
	if known == nil || h.ProducerEpoch > known.epoch {
		known = &fakeProducer{epoch: h.ProducerEpoch}
	}
	if h.ProducerEpoch < known.epoch {
		return 0, false, protocol.ErrFenced.With("epoch %d is older than %d", h.ProducerEpoch, known.epoch)
	}
	for _, r := range known.recent {
		if r.sequence == h.BaseSequence && r.count == h.Count {
			return r.first, true, nil
		}
	}
	if h.BaseSequence != known.next {
		return 0, false, protocol.ErrConflict.With("out of order sequence %d, expected %d", h.BaseSequence, known.next)
	}
	known.next = int32((int64(known.next) + int64(h.Count)) & math.MaxInt32)
	known.recent = append(known.recent, fakeRecent{h.BaseSequence, h.Count, p.end})
	if len(known.recent) > 5 {
		known.recent = known.recent[1:]
	}
	p.producers[h.ProducerID] = known
	return p.end, false, nil
}

func (b *fakeBroker) get(ctx context.Context, topic string, id PartitionID, data []byte) ([]byte, error) {
	var req protocol.GetRequest
	if err := protocol.DecodeRequest(data, &req); err != nil {
		return protocol.EncodeError(err), nil
	}
	timeout := time.NewTimer(time.Duration(req.WaitMs) * time.Millisecond)
	defer timeout.Stop()
	for last := false; ; {
		b.mu.Lock()
		p, changed := b.findLocked(topic, id), b.changed
		if p == nil {
			b.mu.Unlock()
			return nil, errNobody
		}
		answer, empty := p.fetch(&req)
		b.mu.Unlock()
		if !empty || last {
			return answer, nil
		}
		select {
		case <-changed:
		case <-timeout.C:
			last = true
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// fetch answers a get with whole batches, at least one where there is any.
func (p *fakePartition) fetch(req *protocol.GetRequest) (answer []byte, empty bool) {
	from := p.start
	if req.Offset != nil {
		from = *req.Offset
	}
	if from < p.start || from > p.end && req.Epoch == 0 {
		return protocol.EncodeError(protocol.NewRangeError(from, p.start, p.end)), false
	}
	lineage := p.lineage()
	if to, diverged := lineage.Diverged(from, req.Epoch); diverged {
		err := protocol.NewDivergedError(to, p.start, p.end, "diverged")
		err.JumpToEnd, err.Recreated = p.jump, req.Epoch <= p.born
		return protocol.EncodeError(err), false
	}
	answer = protocol.AppendFetchHeader(nil, protocol.FetchHeader{LogStart: p.start, EndOffset: p.end})
	size := 0
	for _, data := range p.batches {
		h, err := protocol.ParseBatchHeader(data)
		if err != nil {
			panic(err)
		}
		if h.Next() <= from {
			continue
		}
		if size > 0 && size+len(data) > req.MaxBytes {
			break
		}
		size += len(data)
		answer = append(answer, data...)
	}
	return answer, size == 0
}

func (p *fakePartition) lineage() protocol.Lineage {
	out := protocol.Lineage{LogStart: p.start, EndOffset: p.end}
	for _, data := range p.batches {
		h, err := protocol.ParseBatchHeader(data)
		if err != nil {
			panic(err)
		}
		if n := len(out.Epochs); h.Epoch > 0 && (n == 0 || out.Epochs[n-1].Epoch != h.Epoch) {
			out.Epochs = append(out.Epochs, protocol.EpochStart{Epoch: h.Epoch, First: h.Base})
		}
	}
	return out
}

// lose makes a partition forget its last records, and lets it continue in a new epoch.
func (b *fakeBroker) lose(topic string, n, records int) {
	b.with(topic, n, func(p *fakePartition) {
		for ; records > 0; records-- {
			h, err := protocol.ParseBatchHeader(p.batches[len(p.batches)-1])
			if err != nil || h.Count != 1 {
				panic("lose wants batches of one record")
			}
			p.batches, p.end = p.batches[:len(p.batches)-1], h.Base
		}
		b.epoch++
	})
}

func (b *fakeBroker) offsets(topic string, id PartitionID, data []byte) ([]byte, error) {
	var req protocol.OffsetsRequest
	if err := protocol.DecodeRequest(data, &req); err != nil {
		return protocol.EncodeError(err), nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.findLocked(topic, id)
	if p == nil {
		return nil, errNobody
	}
	reply := protocol.OffsetsReply{LogStart: p.start, EndOffset: p.end, Offset: p.end}
	if req.Epochs {
		reply.Epochs = p.lineage().Epochs
	}
	if req.Time == nil {
		return json.Marshal(reply)
	}
	for _, data := range p.batches {
		h, err := protocol.ParseBatchHeader(data)
		if err != nil {
			return nil, err
		}
		for r, err := range protocol.DecodeRecords(&h, data) {
			if err != nil {
				return nil, err
			}
			if r.Time >= req.Time.UnixMilli() && r.Offset < reply.Offset {
				reply.Offset = r.Offset
			}
		}
	}
	return json.Marshal(reply)
}

func (b *fakeBroker) admin(verb string, data []byte) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var req protocol.TopicCreate // has the fields of all requests that matter here
	var name protocol.TopicName
	if err := json.Unmarshal(data, &req); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, &name); err != nil {
		return nil, err
	}
	t := b.topics[req.Topic]
	missing := protocol.EncodeError(protocol.ErrNoTopic.With("topic %s does not exist", req.Topic))
	switch verb {
	case "producer.id":
		if b.old {
			return nil, errNobody
		}
		b.granted++
		return json.Marshal(protocol.ProducerGrant{Producer: b.granted})
	case "broker.info":
		return json.Marshal(b.infoLocked())
	case "cluster.info":
		return json.Marshal(protocol.ClusterInfo{Brokers: []protocol.BrokerInfo{b.infoLocked()}})
	case "topic.ls":
		var list protocol.TopicList
		for _, name := range slices.Sorted(maps.Keys(b.topics)) {
			list.Topics = append(list.Topics, protocol.TopicSummary{Topic: name, Partitions: len(b.topics[name].parts)})
		}
		return json.Marshal(list)
	case "topic.create":
		if t != nil {
			return protocol.EncodeError(protocol.ErrExists), nil
		}
		return json.Marshal(b.createLocked(req.Topic, cmp.Or(req.Partitions, 4)).info())
	case "topic.info":
		if t == nil && name.AutoCreate && b.autoCreate {
			t = b.createLocked(req.Topic, 4)
		}
		if t == nil {
			return missing, nil
		}
		return json.Marshal(t.info())
	case "topic.set":
		if t == nil {
			return missing, nil
		}
		return json.Marshal(b.createLocked(req.Topic, req.Partitions).info())
	case "topic.delete":
		if t == nil {
			return missing, nil
		}
		delete(b.topics, req.Topic)
		b.wakeLocked()
		return json.Marshal(protocol.Done{OK: true})
	default:
		return nil, errNobody
	}
}

func (b *fakeBroker) infoLocked() protocol.BrokerInfo {
	return protocol.BrokerInfo{Version: "fake", Registry: "local", Ready: true, MaxMessage: b.maxMessage, MaxPayload: 8 << 20}
}

func (t *fakeTopic) info() protocol.TopicInfo {
	info := protocol.TopicInfo{Topic: t.name}
	for _, p := range t.parts {
		leader := 0
		if p.leaderOff {
			leader = -1
		}
		info.Partitions = append(info.Partitions, protocol.PartitionInfo{
			Partition: p.id, Leader: leader, LogStart: p.start, EndOffset: p.end,
		})
	}
	slices.SortFunc(info.Partitions, func(a, b protocol.PartitionInfo) int { return a.Partition.Compare(b.Partition) })
	return info
}
