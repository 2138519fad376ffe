package protocol

import (
	"encoding/binary"
	"errors"
	"testing"

	"pgregory.net/rapid"
)

// sample returns a sealed batch of n small records.
func sample(t testing.TB, n int, c Compression) []byte {
	t.Helper()
	var bb BatchBuilder
	for i := range n {
		r := Record{
			Time: 1_700_000_000_000 + int64(i), Key: []byte("key"), Value: []byte("a value, a value, a value"),
			Headers: []Header{{Name: "a", Value: "b"}},
		}
		if err := bb.Add(&r); err != nil {
			t.Fatal(err)
		}
	}
	return append([]byte(nil), bb.Encode(c, Producer{ID: NoProducer})...)
}

// reseal changes a batch with edit and renews its checksum, as a hostile or
// faulty producer would.
func reseal(b []byte, edit func(b []byte)) []byte {
	b = append([]byte(nil), b...)
	edit(b)
	sealBatch(b)
	return b
}

func TestCheckBatchRefuses(t *testing.T) {
	whole := sample(t, 10, CompressionNone)
	packed := sample(t, 10, CompressionZstd)
	put32 := func(at int, v uint32) func([]byte) {
		return func(b []byte) { binary.BigEndian.PutUint32(b[at:], v) }
	}
	tests := []struct {
		name  string
		batch []byte
		want  error
	}{
		{"nothing", nil, ErrNoBatch},
		{"zeroed space", make([]byte, 200), ErrNoBatch},
		{"another magic", append([]byte("GET /"), whole...), ErrNoBatch},
		{"a cut header", whole[:BatchHeaderSize-1], ErrShortBatch},
		{"a cut body", whole[:len(whole)-1], ErrShortBatch},
		{"an unknown version", reseal(whole, func(b []byte) { b[3] = 9 }), ErrBadBatch},
		{"a length beyond the limit", reseal(whole, put32(offLength, 1<<31)), ErrBadBatch},
		{"a length of nothing", reseal(whole, put32(offLength, 1)), ErrBadBatch},
		{"a flipped bit in the body", func() []byte {
			b := append([]byte(nil), whole...)
			b[len(b)-1] ^= 1
			return b
		}(), ErrBadBatch},
		{"a count of zero", reseal(whole, put32(offCount, 0)), ErrBadBatch},
		{"a count that is too low", reseal(whole, put32(offCount, 9)), ErrBadBatch},
		{"a count that is too high", reseal(whole, put32(offCount, 11)), ErrBadBatch},
		{"a count beyond the limit", reseal(whole, put32(offCount, 1<<31)), ErrBadBatch},
		{"unknown attributes", reseal(whole, func(b []byte) { b[offAttributes] = 0x80 }), ErrBadBatch},
		{"an unknown compression", reseal(whole, func(b []byte) { b[offAttributes+1] = 7 }), ErrBadBatch},
		{"a compression that it has not", reseal(whole, func(b []byte) { b[offAttributes+1] = 1 }), ErrBadBatch},
		{"another size when decompressed", reseal(packed, put32(offRawLen, 1<<20)), ErrBadBatch},
		{"a bomb", reseal(packed, put32(offRawLen, 1<<31)), ErrBadBatch},
		{"times that go back", reseal(whole, func(b []byte) { clear(b[offMaxTime : offMaxTime+8]) }), ErrBadBatch},
		{"a record after its batch's last time", reseal(whole, func(b []byte) {
			copy(b[offMaxTime:offMaxTime+8], b[offFirstTime:offFirstTime+8])
		}), ErrBadBatch},
		{"a negative offset", reseal(whole, put32(offBase, 1<<31)), ErrBadBatch},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := CheckBatch(tt.batch, 0); !errors.Is(err, tt.want) {
				t.Errorf("CheckBatch: %v, want %v", err, tt.want)
			}
		})
	}
}

func TestCheckBatchHoldsTheLimitOfTheCaller(t *testing.T) {
	b := sample(t, 10, CompressionZstd)
	if _, err := CheckBatch(b, 100); !errors.Is(err, ErrBadBatch) {
		t.Errorf("a body over the limit: %v", err)
	}
	if _, err := CheckBatch(b, MaxRawSize); err != nil {
		t.Errorf("a body within the limit: %v", err)
	}
}

func TestCheckBatchDoesNotTrustTheMetaqLength(t *testing.T) {
	b := reseal(sample(t, 3, CompressionNone), func(b []byte) { binary.BigEndian.PutUint32(b[offMetaqLen:], 7) })
	h, err := CheckBatch(b, 0)
	if want := int64(3 * (20 + 25)); err != nil || h.MetaqLen != want {
		t.Errorf("MetaqLen %d, %v; want %d", h.MetaqLen, err, want)
	}
}

func TestAnyFlippedBitIsSeen(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		b := sample(t, 5, Compression(rapid.IntRange(0, 2).Draw(rt, "compression")))
		bit := rapid.IntRange(0, len(b)*8-1).Draw(rt, "bit")
		b[bit/8] ^= 1 << (bit % 8)
		if _, err := CheckBatch(b, 0); err == nil {
			rt.Fatalf("bit %d flipped and nobody saw it", bit)
		}
	})
}

func TestBuilderIsUsedAgainWithoutAllocating(t *testing.T) {
	var bb BatchBuilder
	r := Record{Time: 1, Value: make([]byte, 100)}
	fill := func() {
		bb.Reset()
		for range 100 {
			if err := bb.Add(&r); err != nil {
				t.Fatal(err)
			}
		}
		bb.Encode(CompressionNone, Producer{ID: NoProducer})
	}
	fill()
	if n := testing.AllocsPerRun(20, fill); n != 0 {
		t.Errorf("%v allocations for a batch, want none", n)
	}
}

func TestBuilderRefusesWhatDoesNotFit(t *testing.T) {
	var bb BatchBuilder
	big := Record{Value: make([]byte, MaxRawSize)}
	if err := bb.Add(&big); !errors.Is(err, ErrBatchFull) {
		t.Fatalf("a record over the limit: %v", err)
	}
	small := Record{Value: []byte("x")}
	if err := bb.Add(&small); err != nil {
		t.Fatal(err)
	}
	if h, err := CheckBatch(bb.Encode(CompressionNone, Producer{}), 0); err != nil || h.Count != 1 {
		t.Errorf("after a refusal: %+v, %v", h, err)
	}
}

func FuzzCheckBatch(f *testing.F) {
	for c := CompressionNone; c <= CompressionS2; c++ {
		f.Add(sample(f, 3, c))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		const limit = 1 << 20
		h, err := CheckBatch(b, limit)
		if err != nil {
			return
		}
		// What is accepted decodes, and encodes to a batch of the same records.
		var bb BatchBuilder
		n := 0
		for r, err := range DecodeRecords(&h, b) {
			if err != nil {
				t.Fatalf("accepted, but record %d: %v", n, err)
			}
			if err := bb.Add(&r); err != nil {
				t.Fatal(err)
			}
			n++
		}
		if n != h.Count {
			t.Fatalf("%d records, the header says %d", n, h.Count)
		}
		again, err := CheckBatch(bb.Encode(h.Compression, Producer{ID: h.ProducerID}), 0)
		if err != nil || again.Count != h.Count || again.MetaqLen != h.MetaqLen {
			t.Fatalf("encoded again: %+v, %v; was %+v", again, err, h)
		}
	})
}

func FuzzDecodeUnchecked(f *testing.F) {
	f.Add(sample(f, 3, CompressionNone))
	f.Fuzz(func(_ *testing.T, b []byte) {
		h, err := ParseBatchHeader(b)
		if err != nil || h.RawLen > 1<<20 {
			return
		}
		for _, err := range DecodeRecords(&h, b) {
			if err != nil {
				return
			}
		}
	})
}

func BenchmarkCheckBatch(b *testing.B) {
	batch := sample(b, 1000, CompressionNone)
	b.SetBytes(int64(len(batch)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := CheckBatch(batch, 0); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDecodeRecords decodes the records of a batch as a broker does, and into
// memory that is used again as a reader does.
func BenchmarkDecodeRecords(b *testing.B) {
	var bb BatchBuilder
	for range 1000 {
		if err := bb.Add(&Record{Time: 1, Value: make([]byte, 128)}); err != nil {
			b.Fatal(err)
		}
	}
	batch := bb.Encode(CompressionNone, Producer{ID: NoProducer})
	h, err := ParseBatchHeader(batch)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("iterate", func(b *testing.B) {
		b.SetBytes(int64(len(batch)))
		b.ReportAllocs()
		for b.Loop() {
			for _, err := range DecodeRecords(&h, batch) {
				if err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}

func BenchmarkBatchBuilder(b *testing.B) {
	r := Record{Time: 1, Value: make([]byte, 128)}
	var bb BatchBuilder
	b.SetBytes(1000 * 128)
	b.ReportAllocs()
	for b.Loop() {
		bb.Reset()
		for range 1000 {
			if err := bb.Add(&r); err != nil {
				b.Fatal(err)
			}
		}
		bb.Encode(CompressionNone, Producer{ID: NoProducer})
	}
}
