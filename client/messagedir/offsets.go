package messagedir

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"metaq/client"
	"metaq/internal/vfs"
	"metaq/protocol"
)

const (
	offsetsName = "offsets.json"

	// maxOffsets bounds the file of a broadcast consumer: some 100,000 partitions.
	maxOffsets = 16 << 20
)

// offsets is the content of offsets.json.
type offsets struct {
	Consumer string                   `json:"consumer"`
	Offsets  []protocol.GroupPosition `json:"offsets"`
}

// Load implements client.OffsetStore. Without a file there are no offsets.
func (s *Store) Load() (map[protocol.TopicPartition]client.Offset, error) {
	all, err := s.LoadPositions()
	if err != nil || all == nil {
		return nil, err
	}
	out := make(map[protocol.TopicPartition]client.Offset, len(all))
	for i := range all {
		out[all[i].At()] = all[i].Offset
	}
	return out, nil
}

// LoadPositions implements client.PositionStore. A file of a release before epochs were
// kept has none.
func (s *Store) LoadPositions() ([]protocol.GroupPosition, error) {
	path := s.o.FS.PathJoin(s.dir, offsetsName)
	b, err := vfs.ReadFile(s.o.FS, path, maxOffsets)
	if vfs.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var file offsets
	if err := json.Unmarshal(b, &file); err != nil {
		return nil, fmt.Errorf("%s is not a file of offsets: %w; move it away to start over", path, err)
	}
	if file.Consumer != s.consumer {
		return nil, fmt.Errorf("%s has the offsets of consumer %q, not of %s; move it away to start over", path, file.Consumer, s.consumer)
	}
	return file.Offsets, nil
}

// Save implements client.OffsetStore.
func (s *Store) Save(m map[protocol.TopicPartition]client.Offset) error {
	all := make([]protocol.GroupPosition, 0, len(m))
	for p, at := range m {
		all = append(all, protocol.GroupPosition{Topic: p.Topic, Partition: p.Partition, Offset: at})
	}
	return s.SavePositions(all)
}

// SavePositions implements client.PositionStore: a crash leaves the old offsets or the new
// ones; when it returns nil, the new ones.
func (s *Store) SavePositions(all []protocol.GroupPosition) error {
	file := offsets{Consumer: s.consumer, Offsets: all}
	if all == nil {
		file.Offsets = []protocol.GroupPosition{}
	}
	slices.SortFunc(file.Offsets, func(a, b protocol.GroupPosition) int { return a.At().Compare(b.At()) })
	b, err := json.Marshal(file)
	if err != nil {
		return err
	}
	return vfs.Publish(s.o.FS, s.dir, offsetsName, func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
}
