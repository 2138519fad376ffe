package persistence

import (
	"testing"

	"metaq/protocol"
)

func TestDirNames(t *testing.T) {
	for name, want := range map[string]PartitionDir{
		"meta-test-0-3":             {"meta-test", protocol.PartitionID{Home: 0, N: 3}},
		"a-1-2-10-11":               {"a-1-2", protocol.PartitionID{Home: 10, N: 11}},
		"t-1023-9999":               {"t", protocol.PartitionID{Home: 1023, N: 9999}},
		"--0-0":                     {"-", protocol.PartitionID{}},
		"t-0":                       {},
		"-0-0":                      {},
		"t-0-03":                    {},
		"t-1024-0":                  {},
		"lock":                      {},
		"a.b-0-0":                   {},
		"t-0-0.set-aside-unknown-1": {},
	} {
		got, ok := ParseDirName(name)
		if got != want || ok != (want.Topic != "") {
			t.Errorf("%s: %+v, %t", name, got, ok)
		}
		if ok && DirName(got.Topic, got.ID) != name {
			t.Errorf("%s: written again as %s", name, DirName(got.Topic, got.ID))
		}
	}
}
