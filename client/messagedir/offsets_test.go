package messagedir

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"metaq/client"
	"metaq/internal/vfs/faultfs"
	"metaq/protocol"
)

func TestOffsetsSurviveAPowerCut(t *testing.T) {
	fsys := faultfs.New(1)
	s := open(t, fsys, Options{})
	if m, err := s.Load(); err != nil || len(m) != 0 {
		t.Fatalf("without a file: %v, %v", m, err)
	}
	want := map[protocol.TopicPartition]client.Offset{
		{Topic: "a", Partition: client.PartitionID{N: 1}}:           7,
		{Topic: "b", Partition: client.PartitionID{Home: 1, N: 10}}: 1 << 40,
	}
	for range 2 {
		if err := s.Save(want); err != nil {
			t.Fatal(err)
		}
		after := open(t, fsys.Crash(0), Options{}) // also the name must be there
		got, err := after.Load()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if err := after.Close(); err != nil {
			t.Fatal(err)
		}
		want = map[protocol.TopicPartition]client.Offset{{Topic: "a", Partition: client.PartitionID{N: 1}}: 8}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestOffsetsOfSomethingElseAreRefused(t *testing.T) {
	for _, c := range []struct{ name, content, says string }{
		{"broken", "{", "is not a file of offsets"},
		{"another consumer's", `{"consumer":"G","offsets":[]}`, `offsets of consumer "G", not of g`},
	} {
		t.Run(c.name, func(t *testing.T) {
			fsys := faultfs.New(0)
			s := open(t, fsys, Options{})
			defer s.Close()
			f, err := fsys.Create("/logs/g/" + offsetsName)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := f.Write([]byte(c.content)); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Load(); err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "move it away") {
				t.Fatal(err)
			}
		})
	}
}

func TestOffsetsKeepTheirEpochs(t *testing.T) {
	fsys := faultfs.New(0)
	s := open(t, fsys, Options{})
	defer s.Close()
	var _ client.PositionStore = s
	want := []protocol.GroupPosition{
		{Topic: "a", Partition: client.PartitionID{N: 1}, Offset: 7, Epoch: 3},
		{Topic: "b", Offset: 1 << 40},
	}
	if err := s.SavePositions(want); err != nil {
		t.Fatal(err)
	}
	got, err := s.LoadPositions()
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

func TestOffsetsOfAnEarlierReleaseAreRead(t *testing.T) {
	fsys := faultfs.New(0)
	s := open(t, fsys, Options{})
	defer s.Close()
	f, err := fsys.Create("/logs/g/" + offsetsName)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write([]byte(`{"consumer":"g","offsets":[{"topic":"a","partition":"0-1","offset":7}]}`)); err != nil {
		t.Fatal(err)
	}
	got, err := s.LoadPositions()
	want := []protocol.GroupPosition{{Topic: "a", Partition: client.PartitionID{N: 1}, Offset: 7}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
}
