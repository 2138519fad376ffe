package persistence

import (
	"strings"

	"metaq/protocol"
)

// PartitionDir names a partition that has a directory.
type PartitionDir struct {
	Topic string
	ID    protocol.PartitionID
}

// DirName is the name of a partition's directory.
func DirName(topic string, id protocol.PartitionID) string { return topic + "-" + id.String() }

// ParseDirName reads a name that DirName makes. A topic may contain "-".
func ParseDirName(name string) (PartitionDir, bool) {
	i := strings.LastIndexByte(name, '-')
	if i < 0 {
		return PartitionDir{}, false
	}
	if i = strings.LastIndexByte(name[:i], '-'); i < 0 {
		return PartitionDir{}, false
	}
	id, err := protocol.ParsePartitionID(name[i+1:])
	if err != nil || protocol.CheckName("topic", name[:i]) != nil {
		return PartitionDir{}, false
	}
	return PartitionDir{Topic: name[:i], ID: id}, true
}
