package faultfs

import (
	"maps"
	"slices"
)

// maxPieces is into how many pieces a write is torn at most.
const maxPieces = 4

// Crash returns the file system that is found after a crash now. Everything
// that was synced is in it; of every piece of everything else percent says how
// likely it is: 0 nothing, 100 all.
func (y *FS) Crash(percent int) *FS {
	y.mu.Lock()
	defer y.mu.Unlock()
	after := New(y.rng.Uint64())
	after.root = y.survivor(y.root, percent, map[*node]*node{})
	after.used = after.root.size()
	return after
}

// survivor returns what is left of n. A node with two names stays one.
func (y *FS) survivor(n *node, percent int, seen map[*node]*node) *node {
	if s := seen[n]; s != nil {
		return s
	}
	s := &node{isDir: n.isDir, modTime: n.modTime}
	seen[n] = s
	if !n.isDir {
		s.disk = y.survive(slices.Clone(n.disk), n.changes, percent)
		s.data = slices.Clone(s.disk)
		return s
	}
	names := y.outlive(maps.Clone(n.durable), n.moves, percent)
	s.names, s.durable = map[string]*node{}, map[string]*node{}
	// In order, so that one seed always gives one result.
	for _, name := range slices.Sorted(maps.Keys(names)) {
		s.names[name] = y.survivor(names[name], percent, seen)
		s.durable[name] = s.names[name]
	}
	return s
}

// writeBack moves what is between cache and disk to the disk.
func (y *FS) writeBack(n *node) {
	if n.isDir {
		n.durable, n.moves = y.outlive(n.durable, n.moves, 100), nil
		return
	}
	n.disk, n.changes = y.survive(n.disk, n.changes, 100), nil
}

// forget is a write-back that fails: a part of the dirty bytes is on disk, and
// nobody will write the rest. Names and sizes are in the file system's journal;
// they stay to be written.
func (y *FS) forget(n *node) {
	if n.isDir {
		return
	}
	isTruncate := func(c change) bool { return c.data == nil }
	truncates := slices.DeleteFunc(slices.Clone(n.changes), func(c change) bool { return !isTruncate(c) })
	n.disk = y.survive(n.disk, slices.DeleteFunc(n.changes, isTruncate), 50)
	n.changes = truncates
}

func (y *FS) outlive(names map[string]*node, moves []move, percent int) map[string]*node {
	for _, m := range moves {
		if y.lucky(percent) {
			m.apply(names)
		}
	}
	return names
}

// survive applies the pieces of changes that are lucky.
func (y *FS) survive(disk []byte, changes []change, percent int) []byte {
	for _, c := range changes {
		if c.data == nil {
			if c.at < len(disk) && y.lucky(percent) {
				disk = c.apply(disk)
			}
			continue
		}
		for _, p := range y.pieces(c, percent) {
			if y.lucky(percent) {
				disk = p.apply(disk)
			}
		}
	}
	return disk
}

// pieces tears a write at random bytes.
func (y *FS) pieces(c change, percent int) []change {
	if percent == 0 || percent == 100 || len(c.data) < 2 {
		return []change{c}
	}
	cuts := []int{0, len(c.data)}
	for range y.rng.IntN(maxPieces) {
		cuts = append(cuts, y.rng.IntN(len(c.data)))
	}
	slices.Sort(cuts)
	var out []change
	for i, from := range cuts[:len(cuts)-1] {
		if to := cuts[i+1]; to > from {
			out = append(out, change{at: c.at + from, data: c.data[from:to]})
		}
	}
	return out
}

func (y *FS) lucky(percent int) bool {
	return percent == 100 || percent > 0 && y.rng.IntN(100) < percent
}
