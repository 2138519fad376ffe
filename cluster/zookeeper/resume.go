package zookeeper

import "encoding/binary"

// resumption puts the first requests of a connection that goes on with a session into
// order: the library sets its watches again, with the newest transaction that it has
// seen, but sends requests that wait meanwhile first. It takes over the transaction of
// each answer without a lock (go-zookeeper/zk issue 35), and a change between the old
// connection's end and that transaction would be told to no watch. So requests wait here
// until the watches have gone, or the first of them; the library may also have some that
// are not known here, or left from a connection that ended at once.
type resumption struct {
	pending bool   // the library will set watches
	held    []byte // the requests that wait
}

// Operations of ZooKeeper's protocol.
const (
	zkPing       = 11
	zkAuth       = 100 // comes before the watches, and they wait for its answer
	zkSetWatches = 101
	zkClose      = -11 // the watches may not come any more
)

// order takes a request as the library writes it, and returns what is to be sent now:
//
//	| int32 length | int32 number | int32 operation | and so on
func (r *resumption) order(request []byte) []byte {
	if !r.pending || len(request) < 12 {
		return request
	}
	held := r.held
	switch int32(binary.BigEndian.Uint32(request[8:])) {
	case zkPing, zkAuth:
		return request
	case zkSetWatches:
		*r = resumption{}
		return append(request[:len(request):len(request)], held...)
	case zkClose:
		*r = resumption{}
		return append(held, request...)
	default:
		r.held = append(held, request...)
		return nil
	}
}
