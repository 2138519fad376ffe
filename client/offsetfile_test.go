package client

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"metaq/protocol"
)

func TestOffsetFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "logs")
	s := OffsetFile(dir, "me")
	if m, err := s.Load(); err != nil || len(m) != 0 {
		t.Fatalf("without a file: %v, %v", m, err)
	}
	want := map[protocol.TopicPartition]Offset{
		{Topic: "a", Partition: PartitionID{N: 1}}:           7,
		{Topic: "b", Partition: PartitionID{Home: 1, N: 10}}: 1 << 40,
	}
	for range 2 {
		if err := s.Save(want); err != nil {
			t.Fatal(err)
		}
	}
	got, err := OffsetFile(dir, "me").Load()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != 1 {
		t.Errorf("directory has %v, %v", names, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "me.offsets"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Load(); err == nil {
		t.Error("a broken file was read")
	}
}
