package partition

import (
	"iter"

	"metaq/actors"
	"metaq/protocol"
)

// logTail yields the headers of the batches at the end of a log: those within
// about the last budget bytes below end. After a fault the last pair holds the
// error.
func logTail(log actors.Log, end protocol.Offset, budget int64) iter.Seq2[protocol.BatchHeader, error] {
	return func(yield func(protocol.BatchHeader, error) bool) {
		from, err := tailStart(log, end, budget)
		var buf []byte
		for err == nil && from < end {
			if buf, err = log.Read(buf[:0], from, end, 1<<20); err != nil {
				break
			}
			for b := buf; len(b) > 0 && err == nil; {
				var h protocol.BatchHeader
				if h, err = protocol.ParseBatchHeader(b); err == nil {
					if !yield(h, nil) {
						return
					}
					b, from = b[min(h.Length, len(b)):], h.Next()
				}
			}
			if err == nil && len(buf) == 0 {
				err = actors.ErrNothingRead
			}
		}
		if err != nil {
			yield(protocol.BatchHeader{}, err)
		}
	}
}

// tailStart finds where the last budget bytes begin, by bisection over offsets.
// The batches' MetaQ positions tell how much lies between them; how many bytes
// of MetaQ a byte on disk stands for is taken from the whole log.
func tailStart(log actors.Log, end protocol.Offset, budget int64) (protocol.Offset, error) {
	low, high, size := log.Start(), end, log.Size()
	if size <= budget || low >= end {
		return low, nil
	}
	var buf []byte
	header := func(at protocol.Offset) (h protocol.BatchHeader, err error) {
		if buf, err = log.Read(buf[:0], at, end, 1); err != nil {
			return h, err
		}
		return protocol.ParseBatchHeader(buf)
	}
	first, err := header(low)
	if err != nil {
		return 0, err
	}
	last := log.NextPosition()
	reach := float64(last-first.Position) / float64(size) * float64(budget)
	for low < high {
		h, err := header(low + (high-low)/2)
		if err != nil {
			return 0, err
		}
		if float64(last-h.Position) > reach {
			low = h.Next()
		} else {
			high = h.Base
		}
	}
	return low, nil
}
