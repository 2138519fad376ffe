package main

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"
)

// payloads makes the messages of one goroutine: lines of a made-up event log,
// which pack about as well as such logs do, behind 16 bytes of sequence number
// and time. The same seed gives the same lines in every run and to every system.
type payloads struct {
	lines [][]byte
	next  uint64
}

// payloadHead is the sequence number and the time in front of a payload.
const payloadHead = 16

// payloadBytes is how much comes before lines repeat: more than the batches that a
// compression sees at once.
const payloadBytes = 4 << 20

func newPayloads(size int) *payloads {
	random := rand.New(rand.NewPCG(1, 2))
	verbs := []string{"view", "cart", "pay", "return", "login", "search", "review", "share"}
	p := &payloads{}
	for range max(4, min(32768, payloadBytes/size)) {
		line := make([]byte, payloadHead, size+256)
		for len(line) < size {
			line = fmt.Appendf(line, `{"user":"u%07d","do":"%s","item":%d,"price":%d.%02d,"ref":"%016x"}`,
				random.IntN(1e7), verbs[random.IntN(len(verbs))], random.IntN(1e6), random.IntN(500), random.IntN(100), random.Uint64())
		}
		p.lines = append(p.lines, line[:size])
	}
	return p
}

// take returns the next payload, stamped with at. It is valid until the next ones
// have been taken, 3 at least; whoever keeps it longer copies it.
func (p *payloads) take(at time.Time) []byte {
	line := p.lines[p.next%uint64(len(p.lines))]
	binary.LittleEndian.PutUint64(line, p.next)
	binary.LittleEndian.PutUint64(line[8:], uint64(at.UnixNano()))
	p.next++
	return line
}

// sequenceOf is the number that take gave to a payload.
func sequenceOf(payload []byte) uint64 { return binary.LittleEndian.Uint64(payload) }

// stampOf is the time that take put into a payload.
func stampOf(payload []byte) time.Time {
	return time.Unix(0, int64(binary.LittleEndian.Uint64(payload[8:])))
}
