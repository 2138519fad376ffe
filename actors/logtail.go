package actors

import (
	"errors"
	"iter"

	"metaq/protocol"
)

// logTail yields the headers of the batches at the end of a log: those within
// the last budget bytes below end, or a little less where batches are
// compressed. After a fault the last pair holds the error.
func logTail(log Log, end protocol.Offset, budget int64) iter.Seq2[protocol.BatchHeader, error] {
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
				err = errNothingRead
			}
		}
		if err != nil {
			yield(protocol.BatchHeader{}, err)
		}
	}
}

var errNothingRead = errors.New("the log returned no batch below its end")

// tailStart finds where the last budget bytes begin, by bisection over offsets:
// the batches' MetaQ positions tell how many bytes lie between them.
func tailStart(log Log, end protocol.Offset, budget int64) (protocol.Offset, error) {
	low, high := log.Start(), end
	if log.Size() <= budget {
		return low, nil
	}
	last := log.NextPosition()
	var buf []byte
	for low < high {
		var err error
		if buf, err = log.Read(buf[:0], low+(high-low)/2, end, 1); err != nil {
			return 0, err
		}
		h, err := protocol.ParseBatchHeader(buf)
		if err != nil {
			return 0, err
		}
		if int64(last-h.Position) > budget {
			low = h.Next()
		} else {
			high = h.Base
		}
	}
	return low, nil
}
