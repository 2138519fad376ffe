package protocol

import (
	"fmt"
	"strings"
	"sync"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
)

// String returns the name used in configuration and help: none, zstd or s2.
func (c Compression) String() string {
	switch c {
	case CompressionNone:
		return "none"
	case CompressionZstd:
		return "zstd"
	case CompressionS2:
		return "s2"
	default:
		return fmt.Sprintf("compression(%d)", uint8(c))
	}
}

// ParseCompression reads a name that String writes.
func ParseCompression(s string) (Compression, error) {
	for _, c := range []Compression{CompressionNone, CompressionZstd, CompressionS2} {
		if strings.EqualFold(s, c.String()) {
			return c, nil
		}
	}
	return 0, fmt.Errorf("compression %q is not known; use none, zstd or s2", clip(s))
}

// One encoder and one decoder serve every goroutine: EncodeAll and DecodeAll
// are safe for concurrent use. They are made at first use, since a program that
// never compresses should not pay for them.
var (
	zstdEncoder = sync.OnceValue(func() *zstd.Encoder {
		e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(false))
		if err != nil {
			panic(err) // the options are constant
		}
		return e
	})
	zstdDecoder = sync.OnceValue(func() *zstd.Decoder {
		d, err := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(MaxRawSize), zstd.WithDecoderConcurrency(0), zstd.WithDecodeAllCapLimit(true))
		if err != nil {
			panic(err) // the options are constant
		}
		return d
	})
	scratch = sync.Pool{New: func() any { return new([]byte) }}
)

// compressBody appends the compressed raw to dst.
func compressBody(dst []byte, c Compression, raw []byte) []byte {
	if c == CompressionZstd {
		return zstdEncoder().EncodeAll(raw, dst)
	}
	at := len(dst)
	dst = append(dst, make([]byte, s2.MaxEncodedLen(len(raw)))...)
	return dst[:at+len(s2.Encode(dst[at:], raw))]
}

// decompressBody decodes body into dst, which has room for exactly h.RawLen
// bytes; more or fewer is a fault.
func decompressBody(h *BatchHeader, dst, body []byte) ([]byte, error) {
	var out []byte
	var err error
	switch h.Compression {
	case CompressionZstd:
		var zh zstd.Header
		// A frame may claim any size: hold it to the header's before decoding.
		if zh.Decode(body) == nil && zh.HasFCS && zh.FrameContentSize != uint64(h.RawLen) {
			return nil, badBatch("body decompresses to %d bytes, the batch says %d", zh.FrameContentSize, h.RawLen)
		}
		out, err = zstdDecoder().DecodeAll(body, dst[:0:h.RawLen])
	default:
		var n int
		if n, err = s2.DecodedLen(body); err == nil && n != h.RawLen {
			return nil, badBatch("body decompresses to %d bytes, the batch says %d", n, h.RawLen)
		}
		if err == nil {
			out, err = s2.Decode(dst[:h.RawLen], body)
		}
	}
	if err != nil {
		return nil, badBatch("%s: %v", h.Compression, err)
	}
	if len(out) != h.RawLen {
		return nil, badBatch("body decompresses to %d bytes, the batch says %d", len(out), h.RawLen)
	}
	return out, nil
}

// rawBody returns the raw body of the batch in b for a moment: release gives
// its buffer back.
func rawBody(h *BatchHeader, b []byte) (body []byte, release func(), err error) {
	body = b[BatchHeaderSize:h.Length]
	if h.Compression == CompressionNone {
		return body, func() {}, nil
	}
	buf, ok := scratch.Get().(*[]byte)
	if !ok || cap(*buf) < h.RawLen {
		buf = new([]byte)
		*buf = make([]byte, h.RawLen)
	}
	body, err = decompressBody(h, (*buf)[:cap(*buf)], body)
	if err != nil {
		scratch.Put(buf)
		return nil, func() {}, err
	}
	return body, func() { scratch.Put(buf) }, nil
}

// ownBody returns the raw body for the caller to keep.
func ownBody(h *BatchHeader, b []byte) ([]byte, error) {
	body := b[BatchHeaderSize:h.Length]
	if h.Compression == CompressionNone {
		return body, nil
	}
	return decompressBody(h, make([]byte, h.RawLen), body)
}
