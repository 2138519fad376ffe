package clientfake

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
	"time"

	"metaq/protocol"
)

// Broker is a broker in memory: the leader of all its partitions. It keeps
// the rules that the client relies on, above all the one about producers: the
// last five batches of each are recognised; a gap in the sequence, a sequence
// that does not begin with 0 and an older epoch are refused.
type Broker struct {
	mu         sync.Mutex
	topics     map[string]*Topic
	AutoCreate bool
	MaxMessage int
	Epoch      protocol.Epoch
	changed    chan struct{} // closed and replaced at each append
	requests   int           // batches that arrived, duplicates too
	granted    int64         // producer ids
	Old        bool          // does not grant ids
	// clock stamps the records.
	clock func() time.Time
}

// Topic is a topic of a Broker; it is guarded by the broker's lock.
type Topic struct {
	name  string
	parts map[protocol.PartitionID]*Partition
}

// Partition is a log with what the broker knows of its producers; see Broker.With.
type Partition struct {
	ID        protocol.PartitionID
	LeaderOff bool // no leader: requests get no responders
	Start     protocol.Offset
	End       protocol.Offset
	Batches   [][]byte
	Born      protocol.Epoch // of the topic
	Jump      bool           // updateConsumerOffsets
	Producers map[int64]*Producer
}

// Producer is what a partition remembers of one producer.
type Producer struct {
	Epoch  int16
	Next   int32
	Recent []fakeRecent
}

type fakeRecent struct {
	sequence int32
	count    int
	first    protocol.Offset
}

// NewBroker returns a broker without topics.
func NewBroker() *Broker {
	return &Broker{
		topics: make(map[string]*Topic), MaxMessage: 1 << 20, changed: make(chan struct{}), clock: time.Now,
	}
}

// Create adds partitions 0-0 to 0-(n-1), or those that are missing.
func (b *Broker) Create(topic string, n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.createLocked(topic, n)
}

func (b *Broker) createLocked(topic string, n int) *Topic {
	t := b.topics[topic]
	if t == nil {
		t = &Topic{name: topic, parts: make(map[protocol.PartitionID]*Partition)}
		b.topics[topic] = t
	}
	for i := range n {
		id := protocol.PartitionID{N: i}
		if t.parts[id] == nil {
			t.parts[id] = &Partition{ID: id, Producers: make(map[int64]*Producer)}
		}
	}
	return t
}

// With gives f a partition, guarded.
func (b *Broker) With(topic string, n int, f func(*Partition)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f(b.topics[topic].parts[protocol.PartitionID{N: n}])
	b.wakeLocked()
}

// Arrived is the number of batches that came.
func (b *Broker) Arrived() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.requests
}

func (b *Broker) wakeLocked() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// errNobody is handle's way to say "no responders".
var errNobody = errors.New("nobody there")

// Handle answers one request; the error is errNobody or ctx's.
func (b *Broker) Handle(ctx context.Context, subject string, data []byte) ([]byte, error) {
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
		return b.Offsets(tokens[2], id, data)
	default:
		return nil, errNobody
	}
}

// findLocked returns a partition that has a leader, or nil.
func (b *Broker) findLocked(topic string, id protocol.PartitionID) *Partition {
	if t := b.topics[topic]; t != nil && t.parts[id] != nil && !t.parts[id].LeaderOff {
		return t.parts[id]
	}
	return nil
}

func (b *Broker) put(topic string, id protocol.PartitionID, data []byte) ([]byte, error) {
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
	first, duplicate, err := p.Number(&h)
	if err != nil {
		return protocol.EncodeError(err), nil
	}
	if !duplicate {
		data = slices.Clone(data)
		protocol.StampBatch(data, protocol.Stamp{
			Base: p.End, Epoch: b.Epoch, MaxTime: b.clock().UnixMilli(), MetaqLen: h.MetaqLen,
		})
		p.Batches = append(p.Batches, data)
		p.End += protocol.Offset(h.Count)
		b.wakeLocked()
	}
	ack := protocol.NewPubAck(topic, id, first, h.Count)
	ack.Duplicate = duplicate
	return ack.Append(nil), nil
}

// Number applies the rule about producers and returns the first offset.
func (p *Partition) Number(h *protocol.BatchHeader) (protocol.Offset, bool, error) {
	known := p.Producers[h.ProducerID]
	if known == nil && h.BaseSequence != 0 {
		return 0, false, protocol.ErrNewProducer
	}
	if known == nil || h.ProducerEpoch > known.Epoch {
		known = &Producer{Epoch: h.ProducerEpoch}
	}
	if h.ProducerEpoch < known.Epoch {
		return 0, false, protocol.ErrFenced.With("epoch %d is older than %d", h.ProducerEpoch, known.Epoch)
	}
	for _, r := range known.Recent {
		if r.sequence == h.BaseSequence && r.count == h.Count {
			return r.first, true, nil
		}
	}
	if h.BaseSequence != known.Next {
		return 0, false, protocol.ErrConflict.With("out of order sequence %d, expected %d", h.BaseSequence, known.Next)
	}
	known.Next = int32((int64(known.Next) + int64(h.Count)) & math.MaxInt32)
	known.Recent = append(known.Recent, fakeRecent{h.BaseSequence, h.Count, p.End})
	if len(known.Recent) > 5 {
		known.Recent = known.Recent[1:]
	}
	p.Producers[h.ProducerID] = known
	return p.End, false, nil
}

func (b *Broker) get(ctx context.Context, topic string, id protocol.PartitionID, data []byte) ([]byte, error) {
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
func (p *Partition) fetch(req *protocol.GetRequest) (answer []byte, empty bool) {
	from := p.Start
	if req.Offset != nil {
		from = *req.Offset
	}
	if from < p.Start || from > p.End && req.Epoch == 0 {
		return protocol.EncodeError(protocol.NewRangeError(from, p.Start, p.End)), false
	}
	lineage := p.Lineage()
	if to, diverged := lineage.Diverged(from, req.Epoch); diverged {
		err := protocol.NewDivergedError(to, p.Start, p.End, "diverged")
		err.JumpToEnd, err.Recreated = p.Jump, req.Epoch <= p.Born
		return protocol.EncodeError(err), false
	}
	answer = protocol.AppendFetchHeader(nil, protocol.FetchHeader{LogStart: p.Start, EndOffset: p.End})
	size := 0
	for _, data := range p.Batches {
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

// Lineage returns the epochs of the log.
func (p *Partition) Lineage() protocol.Lineage {
	out := protocol.Lineage{LogStart: p.Start, EndOffset: p.End}
	for _, data := range p.Batches {
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

// Lose makes a partition forget its last records, and lets it continue in a new epoch.
func (b *Broker) Lose(topic string, n, records int) {
	b.With(topic, n, func(p *Partition) {
		for ; records > 0; records-- {
			h, err := protocol.ParseBatchHeader(p.Batches[len(p.Batches)-1])
			if err != nil || h.Count != 1 {
				panic("lose wants batches of one record")
			}
			p.Batches, p.End = p.Batches[:len(p.Batches)-1], h.Base
		}
		b.Epoch++
	})
}

// Offsets answers a request for the ends of a log.
func (b *Broker) Offsets(topic string, id protocol.PartitionID, data []byte) ([]byte, error) {
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
	reply := protocol.OffsetsReply{LogStart: p.Start, EndOffset: p.End, Offset: p.End}
	if req.Epochs {
		reply.Epochs = p.Lineage().Epochs
	}
	if req.Time == nil {
		return json.Marshal(reply)
	}
	for _, data := range p.Batches {
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

func (b *Broker) admin(verb string, data []byte) ([]byte, error) {
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
		if b.Old {
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
		if t == nil && name.AutoCreate && b.AutoCreate {
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

func (b *Broker) infoLocked() protocol.BrokerInfo {
	return protocol.BrokerInfo{Version: "fake", Registry: "local", Ready: true, MaxMessage: b.MaxMessage, MaxPayload: 8 << 20}
}

func (t *Topic) info() protocol.TopicInfo {
	info := protocol.TopicInfo{Topic: t.name}
	for _, p := range t.parts {
		leader := 0
		if p.LeaderOff {
			leader = -1
		}
		info.Partitions = append(info.Partitions, protocol.PartitionInfo{
			Partition: p.ID, Leader: leader, LogStart: p.Start, EndOffset: p.End,
		})
	}
	slices.SortFunc(info.Partitions, func(a, b protocol.PartitionInfo) int { return a.Partition.Compare(b.Partition) })
	return info
}
