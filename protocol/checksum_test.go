package protocol

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"testing"

	"pgregory.net/rapid"
)

// Whatever the lengths are, the moved difference of two beginnings turns the checksum of
// one whole into that of the other.
func TestAChangedBeginningMovesTheChecksum(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.SampledFrom([]int{0, 1, 3, 68, 255, 4096, 70_001}).Draw(t, "rest")
		a := rapid.SliceOfN(rapid.Byte(), 1, 100).Draw(t, "a")
		b := rapid.SliceOfN(rapid.Byte(), len(a), len(a)).Draw(t, "b")
		rest := make([]byte, n)
		for i := range rest {
			rest[i] = byte(i*i + n)
		}
		sum := func(head []byte) uint32 {
			return crc32.Update(crc32.Checksum(head, castagnoli), castagnoli, rest)
		}
		change := crc32.Checksum(a, castagnoli) ^ crc32.Checksum(b, castagnoli)
		if got, want := sum(a)^moved(change, n), sum(b); got != want {
			t.Fatalf("%08x, want %08x", got, want)
		}
	})
}

// A body that changed after it was checked, in memory that lies, does not get a checksum
// that says it is right.
func TestAStampDoesNotHideWhatChanged(t *testing.T) {
	var b BatchBuilder
	if err := b.Add(&Record{Value: []byte("as it was sent")}); err != nil {
		t.Fatal(err)
	}
	batch := b.Encode(CompressionNone, Producer{ID: 7})
	stamp := Stamp{Base: 9, Position: 10, Epoch: 11, Unsynced: 12, MaxTime: 13, MetaqLen: b.MetaqLen()}
	StampBatch(batch, stamp)
	if want := crc32.Checksum(batch[offAttributes:], castagnoli); binary.BigEndian.Uint32(batch[offCRC:]) != want {
		t.Fatalf("the checksum is not %08x", want)
	}
	batch[len(batch)-1] ^= 1
	StampBatch(batch, stamp)
	if _, err := CheckBatch(batch, 0); !errors.Is(err, ErrBadBatch) {
		t.Errorf("a changed body passes: %v", err)
	}
}

// BenchmarkStampBatch stamps batches of so many bytes.
func BenchmarkStampBatch(b *testing.B) {
	for _, size := range []int{1 << 10, 64 << 10, 1 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			var builder BatchBuilder
			if err := builder.Add(&Record{Value: make([]byte, size)}); err != nil {
				b.Fatal(err)
			}
			batch := builder.Encode(CompressionNone, Producer{ID: NoProducer})
			b.SetBytes(int64(size))
			for b.Loop() {
				StampBatch(batch, Stamp{Base: 1, MaxTime: 2, MetaqLen: builder.MetaqLen()})
			}
		})
	}
}
