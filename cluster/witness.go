package cluster

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"sync"

	"metaq/internal/vfs"
	"metaq/protocol"
)

// Epochs are epochs by topic and home broker; the index of a list is the number of
// the partition.
type Epochs map[string]map[int][]protocol.Epoch

// Regression is a partition whose epoch in the registry is below one that this broker
// has seen: the registry was restored to an older state.
type Regression struct {
	Topic     string
	Partition protocol.PartitionID
	Registry  protocol.Epoch // what the registry says
	Witnessed protocol.Epoch // what was seen before
}

// Witness keeps, durably, the highest epoch that this broker has ever seen of each
// partition, so that a registry that forgets cannot make an epoch go down. The file is
//
//	0      4        8
//	| MQWI | crc32c | JSON of Epochs
//
// crc32c, big endian, covers the JSON. A nil *Witness has seen nothing and keeps
// nothing. All methods may be called from any goroutine.
type Witness struct {
	disk     vfs.Generations
	recovery vfs.Recovery

	// turn holds one token: whoever has it may write the file.
	turn chan struct{}

	mu     sync.Mutex // guards what follows
	seen   Epochs     // replaced, never changed in place
	poison error      // a failed publish: no epoch can be witnessed any more
}

const (
	witnessName   = "witness"
	witnessMagic  = "MQWI"
	witnessHeader = 8
)

var (
	witnessTable  = crc32.MakeTable(crc32.Castagnoli)
	errBadWitness = errors.New("not a whole witness file")
)

// OpenWitness reads the witness of a data directory; the directory must be there and be
// locked by this process. A *vfs.DamagedError when no generation is readable: call again
// with startEmpty, and raise what the partitions' logs know.
func OpenWitness(fs vfs.FS, dir string, startEmpty bool) (*Witness, error) {
	if fs == nil {
		fs = vfs.Default
	}
	w := &Witness{disk: vfs.Generations{FS: fs, Dir: dir, Name: witnessName}, seen: Epochs{}, turn: make(chan struct{}, 1)}
	w.turn <- struct{}{}
	var err error
	_, w.recovery, err = w.disk.Load(startEmpty, func(b []byte) error {
		seen, err := decodeWitness(b)
		if err == nil {
			w.seen = seen
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open witness: %w", err)
	}
	return w, nil
}

// Recovery says what OpenWitness had to set aside.
func (w *Witness) Recovery() vfs.Recovery { return w.recovery }

// Highest returns the highest epochs seen of a topic's partitions on one home broker;
// it may be shorter than the topic has partitions.
func (w *Witness) Highest(topic string, home int) []protocol.Epoch {
	if w == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.seen[topic][home])
}

// Raise takes note of epochs; lower ones than before are ignored. It returns when they
// are durable, and writes only when something is new.
func (w *Witness) Raise(seen Epochs) error {
	if w == nil {
		return nil
	}
	<-w.turn
	defer func() { w.turn <- struct{}{} }()
	w.mu.Lock()
	next, changed := merged(w.seen, seen)
	err := w.poison
	w.mu.Unlock()
	if err != nil || !changed {
		return err
	}
	if err := w.disk.Publish(encodeWitness(next)); err != nil {
		err = fmt.Errorf("publish witness: %w", err)
		if !errors.Is(err, vfs.ErrBeforeRename) {
			w.mu.Lock()
			w.poison = err
			w.mu.Unlock()
		}
		return err
	}
	w.mu.Lock()
	w.seen = next
	w.mu.Unlock()
	return nil
}

// Seen is what was seen so far, for Regressions. It does not change.
func (w *Witness) Seen() Epochs {
	if w == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen
}

// Regressions compares what the registry says with what was seen before it was asked: a
// claim that is made while the registry is read may be in the witness already.
func (seen Epochs) Regressions(topic string, partitions []Partition) []Regression {
	var behind []Regression
	for _, p := range partitions {
		if list := seen[topic][p.ID.Home]; p.ID.N < len(list) && p.Epoch < list[p.ID.N] {
			behind = append(behind, Regression{Topic: topic, Partition: p.ID, Registry: p.Epoch, Witnessed: list[p.ID.N]})
		}
	}
	return behind
}

// merged is the maximum of both; a is not changed.
func merged(a, b Epochs) (Epochs, bool) {
	changed := false
	next := make(Epochs, len(a)+len(b))
	for topic, homes := range a {
		next[topic] = homes
	}
	for topic, homes := range b {
		for home, list := range homes {
			old := next[topic][home]
			high := slices.Clone(old)
			for i, e := range list {
				if i >= len(high) {
					high = append(high, e)
				} else {
					high[i] = max(high[i], e)
				}
			}
			if slices.Equal(high, old) {
				continue
			}
			changed = true
			copied := make(map[int][]protocol.Epoch, len(next[topic])+1)
			for h, l := range next[topic] {
				copied[h] = l
			}
			copied[home] = high
			next[topic] = copied
		}
	}
	return next, changed
}

func encodeWitness(seen Epochs) []byte {
	body := encode(seen)
	b := make([]byte, witnessHeader, witnessHeader+len(body))
	copy(b, witnessMagic)
	binary.BigEndian.PutUint32(b[4:], crc32.Checksum(body, witnessTable))
	return append(b, body...)
}

func decodeWitness(b []byte) (Epochs, error) {
	if len(b) < witnessHeader || string(b[:4]) != witnessMagic {
		return nil, fmt.Errorf("%w: no header", errBadWitness)
	}
	if crc32.Checksum(b[witnessHeader:], witnessTable) != binary.BigEndian.Uint32(b[4:]) {
		return nil, fmt.Errorf("%w: checksum", errBadWitness)
	}
	seen := Epochs{}
	if err := json.Unmarshal(b[witnessHeader:], &seen); err != nil {
		return nil, fmt.Errorf("%w: %w", errBadWitness, err)
	}
	return seen, nil
}
