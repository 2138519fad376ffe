// Package aligned makes memory that a disk can fetch bytes from without a copy in between.
package aligned

import "unsafe"

// Block is what such memory's address, and the place and the length of a write from it, are
// multiples of. Disks have blocks of 512 or 4096 bytes.
const Block = 4096

// New returns n zero bytes whose address is a multiple of Block.
func New(n int) []byte {
	b := make([]byte, n)
	if Misaligned(b) == 0 { // as large ones are anyway
		return b
	}
	b = make([]byte, n+Block)
	from := (Block - Misaligned(b)) % Block
	return b[from : from+n : from+n]
}

// Misaligned is how many bytes the address of b is above a multiple of Block.
func Misaligned(b []byte) int {
	return int(uintptr(unsafe.Pointer(unsafe.SliceData(b))) % Block)
}

// Up is the next multiple of Block, or n itself.
func Up(n int) int { return (n + Block - 1) &^ (Block - 1) }

// Within returns the blocks of around that b touches, where around is memory of New and b a
// part of it up to its end, which begins lead bytes behind the beginning of a block. It
// returns nil when b begins elsewhere, or the last block is not in around.
func Within(around, b []byte, lead int) []byte {
	from, n := cap(around)-cap(b)-lead, Up(lead+len(b))
	if len(b) == 0 || from < 0 || from%Block != 0 || from+n > len(around) ||
		&around[from+lead] != &b[0] || Misaligned(around) != 0 {
		return nil
	}
	return around[from : from+n]
}
