package protocol

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// A get reply in the format "batch": a small header, then whole batches as they
// are on disk. The first batch may begin below the offset that was asked for.
//
//	0     3 4        8           16           24
//	|"MQF"|v| flags  | log start | end offset | batches ...
//
// Flag 1 says that another answer to the same request follows.
const (
	fetchMagic   = 0x4d5146 // "MQF"
	fetchVersion = 1

	// FetchHeaderSize is the number of bytes before the first batch.
	FetchHeaderSize = 24

	fetchMore = 1 // flag
)

// ErrBadFetch is wrapped by every fault of a fetch reply's header.
var ErrBadFetch = errors.New("bad fetch reply")

// FetchHeader tells where the partition's log begins and ends, and whether another
// answer to the same request follows.
type FetchHeader struct {
	LogStart  Offset
	EndOffset Offset
	More      bool
}

// AppendFetchHeader appends h to dst.
func AppendFetchHeader(dst []byte, h FetchHeader) []byte {
	dst = binary.BigEndian.AppendUint32(dst, fetchMagic<<8|fetchVersion)
	var flags uint32
	if h.More {
		flags = fetchMore
	}
	dst = binary.BigEndian.AppendUint32(dst, flags)
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.LogStart))
	return binary.BigEndian.AppendUint64(dst, uint64(h.EndOffset))
}

// ParseFetch splits a reply into its header and its batches.
func ParseFetch(b []byte) (FetchHeader, []byte, error) {
	if len(b) < FetchHeaderSize || binary.BigEndian.Uint32(b) != fetchMagic<<8|fetchVersion {
		return FetchHeader{}, nil, fmt.Errorf("%w: no header of version %d", ErrBadFetch, fetchVersion)
	}
	h := FetchHeader{
		LogStart:  Offset(binary.BigEndian.Uint64(b[8:])),
		EndOffset: Offset(binary.BigEndian.Uint64(b[16:])),
		More:      binary.BigEndian.Uint32(b[4:])&fetchMore != 0,
	}
	if h.LogStart < 0 || h.EndOffset < h.LogStart {
		return FetchHeader{}, nil, fmt.Errorf("%w: offsets %d to %d", ErrBadFetch, h.LogStart, h.EndOffset)
	}
	return h, b[FetchHeaderSize:], nil
}
