package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"metaq/protocol"
)

// offsetFile is an OffsetStore in one file.
type offsetFile struct{ path string }

// OffsetFile keeps a broadcast consumer's offsets in the JSON file <dir>/<name>.offsets,
// which is replaced at each Save. dir is made when it is not there: it is the
// messagedir of metaq.ini. Two consumers must not share a file.
func OffsetFile(dir, name string) OffsetStore {
	return &offsetFile{filepath.Join(dir, name+".offsets")}
}

// Load implements OffsetStore. A file that is not there has no offsets.
func (f *offsetFile) Load() (map[protocol.TopicPartition]Offset, error) {
	b, err := os.ReadFile(f.path) //nolint:forbidigo // the client has one small file and no use for the broker's file system seam
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []protocol.GroupPosition
	if err := json.Unmarshal(b, &list); err != nil {
		return nil, fmt.Errorf("%s is not a file of offsets: %w: remove it to begin anew", f.path, err)
	}
	out := make(map[protocol.TopicPartition]Offset, len(list))
	for i := range list {
		out[list[i].At()] = list[i].Offset
	}
	return out, nil
}

// Save implements OffsetStore: a temporary file that is synced and renamed, so
// that a crash leaves the old offsets or the new ones.
func (f *offsetFile) Save(m map[protocol.TopicPartition]Offset) error {
	list := make([]protocol.GroupPosition, 0, len(m))
	for p, at := range m {
		list = append(list, protocol.GroupPosition{Topic: p.Topic, Partition: p.Partition, Offset: at})
	}
	b, err := json.Marshal(list)
	if err != nil {
		return err
	}
	dir := filepath.Dir(f.path)
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:forbidigo // see Load
		return err
	}
	t, err := os.CreateTemp(dir, filepath.Base(f.path)+".tmp-*") //nolint:forbidigo // see Load
	if err != nil {
		return err
	}
	_, err = t.Write(b)
	if err = errors.Join(err, t.Sync(), t.Close()); err == nil {
		err = os.Rename(t.Name(), f.path) //nolint:forbidigo // see Load
	}
	if err != nil {
		return errors.Join(err, os.Remove(t.Name())) //nolint:forbidigo // see Load
	}
	return nil
}
