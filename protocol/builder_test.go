package protocol

import (
	"bytes"
	"hash/crc32"
	"testing"

	"pgregory.net/rapid"

	"metaq/internal/aligned"
)

// A builder that is used again and again, with and without a place in memory to begin at,
// and asked for the batch while it grows, makes the bytes that a new one makes.
func TestABuilderMakesTheSameBatchWhereverItLies(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var used BatchBuilder
		for range rapid.IntRange(1, 4).Draw(t, "batches") {
			used.Reset()
			lead := rapid.IntRange(-1, aligned.Block-1).Draw(t, "lead")
			if lead >= 0 {
				used.Align(lead)
			}
			var all []Record
			for range rapid.IntRange(1, 4).Draw(t, "encoded") {
				for range rapid.IntRange(1, 5).Draw(t, "records") {
					size := rapid.OneOf(rapid.IntRange(0, 200), rapid.IntRange(2_000, 20_000)).Draw(t, "size")
					r := Record{Time: int64(len(all)), Value: bytes.Repeat([]byte{byte('a' + len(all))}, size)}
					if err := used.Add(&r); err != nil {
						t.Fatal(err)
					}
					all = append(all, r)
				}
				by := Producer{ID: 7, Sequence: int32(len(all))}
				got := used.Encode(CompressionNone, by)
				var fresh BatchBuilder
				for i := range all {
					if err := fresh.Add(&all[i]); err != nil {
						t.Fatal(err)
					}
				}
				if want := fresh.Encode(CompressionNone, by); !bytes.Equal(got, want) || used.Size() != len(want) {
					t.Fatalf("%d records: %d bytes, %d from a new builder, or others", len(all), len(got), len(want))
				}
				if _, err := CheckBatch(got, 0); err != nil {
					t.Fatalf("%v, its sum is %x", err, crc32.Checksum(got[offAttributes:], castagnoli))
				}
				if blocks := aligned.Within(used.Around(), got, max(lead, 0)); used.Around() != nil && lead >= 0 && (blocks == nil || &blocks[lead] != &got[0]) {
					t.Fatalf("%d bytes do not begin %d bytes behind a block's beginning", len(got), lead)
				}
				if lead >= 0 && len(got) > 2*aligned.Block && used.Around() == nil {
					t.Fatalf("%d bytes lie anywhere", len(got))
				}
			}
		}
	})
}
