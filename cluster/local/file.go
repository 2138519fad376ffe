package local

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"

	"metaq/cluster/registry"
)

// The file of a local registry, one generation of the whole tree:
//
//	0      4        8         9          17
//	| MQRG | crc32c | version | length   | payload of that length
//
//	payload: nodes in the order of their paths, each
//	| uvarint | path | uvarint version | uvarint | data |
//
// crc32c covers all that follows it. Numbers are big endian. The root and the
// ephemeral nodes are not written. A file of another length is damaged.
const (
	localMagic   = "MQRG"
	localVersion = 1
	localHeader  = 4 + 4 + 1 + 8
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errBadFile = errors.New("not a whole registry file")

// encodeTree writes the persistent nodes of a tree.
func encodeTree(t *tree) []byte {
	b := make([]byte, localHeader, localHeader+64*len(t.nodes))
	for _, path := range slices.Sorted(maps.Keys(t.nodes)) {
		n := t.nodes[path]
		if n.owner != 0 || path == "/" {
			continue
		}
		b = appendBytes(b, []byte(path))
		b = binary.AppendUvarint(b, uint64(n.version))
		b = appendBytes(b, n.data)
	}
	copy(b, localMagic)
	b[8] = localVersion
	binary.BigEndian.PutUint64(b[9:], uint64(len(b)-localHeader))
	binary.BigEndian.PutUint32(b[4:], crc32.Checksum(b[8:], castagnoli))
	return b
}

func appendBytes(b, data []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(data)))
	return append(b, data...)
}

// decodeTree reads what encodeTree wrote. It distrusts every byte.
func decodeTree(b []byte) (*tree, error) {
	if len(b) < localHeader || string(b[:4]) != localMagic {
		return nil, fmt.Errorf("%w: no header", errBadFile)
	}
	if b[8] != localVersion {
		return nil, fmt.Errorf("%w: version %d, this program reads %d", errBadFile, b[8], localVersion)
	}
	if n := binary.BigEndian.Uint64(b[9:]); n != uint64(len(b)-localHeader) {
		return nil, fmt.Errorf("%w: %d bytes, the header says %d", errBadFile, len(b)-localHeader, n)
	}
	if sum := crc32.Checksum(b[8:], castagnoli); sum != binary.BigEndian.Uint32(b[4:]) {
		return nil, fmt.Errorf("%w: checksum %08x", errBadFile, sum)
	}
	t := newTree()
	last := ""
	for rest := b[localHeader:]; len(rest) > 0; {
		var path, data []byte
		var version uint64
		var ok1, ok2, ok3 bool
		path, rest, ok1 = cutBytes(rest)
		version, rest, ok2 = cutUvarint(rest)
		data, rest, ok3 = cutBytes(rest)
		p := string(path)
		if !ok1 || !ok2 || !ok3 || version > 1<<31-1 || p <= last || p == "/" || registry.CheckPath(p) != nil {
			return nil, fmt.Errorf("%w: bad node after %q", errBadFile, last)
		}
		if _, found := t.nodes[registry.ParentOf(p)]; !found {
			return nil, fmt.Errorf("%w: node %q without its parent", errBadFile, p)
		}
		t.link(p, &znode{data: slices.Clone(data), version: registry.Version(version)})
		last = p
	}
	return t, nil
}

func cutUvarint(b []byte) (uint64, []byte, bool) {
	v, n := binary.Uvarint(b)
	// One value has one form, so that what is decoded encodes to the same bytes.
	if n <= 0 || n > 1 && b[n-1] == 0 {
		return 0, nil, false
	}
	return v, b[n:], true
}

func cutBytes(b []byte) ([]byte, []byte, bool) {
	n, rest, ok := cutUvarint(b)
	if !ok || n > uint64(len(rest)) {
		return nil, nil, false
	}
	return rest[:n], rest[n:], true
}
