package protocol

// KeyHash is the hash that maps a key to a partition: FNV-1a, 32 bits, the one
// that NATS subject mapping uses too. It is part of the protocol: test vectors
// are in docs/protocol.md.
func KeyHash(key []byte) uint32 {
	const (
		offsetBasis = 2166136261
		prime       = 16777619
	)
	h := uint32(offsetBasis)
	for _, c := range key {
		h ^= uint32(c)
		h *= prime
	}
	return h
}

// PartitionOf returns the index of key's partition in the topic's whole
// partition list, sorted by PartitionID.Compare, as the registry has it: not
// only those of the brokers that are alive, so that the order by key survives a
// broker's absence. It panics when partitions is not positive.
func PartitionOf(key []byte, partitions int) int {
	return int(KeyHash(key) % uint32(partitions))
}
