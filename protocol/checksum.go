package protocol

import (
	"hash/crc32"
	"math/bits"
)

// castagnoli is the polynomial of all checksums, with its tables.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A checksum is linear: that of a and then b is that of a, moved by the length of b, plus
// that of b. So the checksum of a changed beginning needs no look at the rest. To move by
// n bytes is to multiply by x^8n modulo the polynomial, as zlib's crc32_combine does it;
// numbers are polynomials with the coefficient of x^0 in the highest bit.

// squares[k] is x^(8*2^k) modulo the polynomial.
var squares = func() (s [32]uint32) {
	s[0] = 1 << (31 - 8)
	for k := 1; k < len(s); k++ {
		s[k] = times(s[k-1], s[k-1])
	}
	return s
}()

// times multiplies modulo the polynomial.
func times(a, b uint32) (product uint32) {
	for ; a != 0; a <<= 1 {
		product ^= b & -(a >> 31)
		b = b>>1 ^ crc32.Castagnoli&-(b&1)
	}
	return product
}

// moved is the checksum's part of bytes with this checksum in front of n others.
func moved(crc uint32, n int) uint32 {
	for left := uint32(n); left != 0; left &= left - 1 {
		crc = times(squares[bits.TrailingZeros32(left)], crc)
	}
	return crc
}
