package protocol

// Header is one name and value of a record. A name may repeat; the order is
// kept.
type Header struct {
	Name  string
	Value string
}

// Record is one message: payload, optional key, headers and time.
type Record struct {
	Offset  Offset // set by the broker; ignored when encoding
	Time    int64  // Unix time in milliseconds; see docs/adr on the broker's clock
	Key     []byte // nil means no key; an empty key is a key
	Headers []Header
	Value   []byte
}

// Header returns the first value under name and whether there is one. Names
// compare exactly.
func (r *Record) Header(name string) (string, bool) {
	for i := range r.Headers {
		if r.Headers[i].Name == name {
			return r.Headers[i].Value, true
		}
	}
	return "", false
}

// MetaqSize is the number of bytes that the record would take in a MetaQ log:
// a header of 20 bytes and the payload, and, when the record has the header
// Metaq-Attribute, 4 bytes and the attribute.
func (r *Record) MetaqSize() int64 {
	n := int64(metaqRecordHeader + len(r.Value))
	if a, ok := r.Header(HeaderAttribute); ok {
		n += int64(metaqAttributeHeader + len(a))
	}
	return n
}

const (
	metaqRecordHeader    = 20
	metaqAttributeHeader = 4
)
