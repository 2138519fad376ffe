package transport

import (
	"sync"

	"github.com/nats-io/nats.go"
)

// writer writes the answers that go by NATS, on one goroutine of its own. The library's
// writes wait for the server, and the server stalls who writes to a client that does not
// read: an actor or the dispatcher would stand still with it, and everybody they serve.
//
// What waits is bounded in two classes. Answers to gets are large and can be asked for
// again, so they have a bound of their own and come after all others: who does not read
// what it asked for delays and displaces other readers only. Within a class the order is
// that of add.
type writer struct {
	send func(*letter)
	done chan struct{} // closed when the goroutine has ended

	mu     sync.Mutex // guards what follows; nothing is written under it
	wake   sync.Cond
	roomy  sync.Cond // who asks for more answers may, or need not any more
	small  letters
	large  letters
	open   bool // nobody waits for room
	ending bool
}

// letter is an answer on its way to the server.
type letter struct {
	nc     *nats.Conn
	reply  string
	data   []byte
	nobody bool    // the status "no responders" instead of data
	large  bool    // an answer to a get
	free   func()  // (optional) gives data back
	pooled *[]byte // (optional) where data lies, of buffers
}

// release gives the letter's memory back, sent or not.
func (l *letter) release() {
	if l.free != nil {
		l.free()
	}
	if l.pooled != nil && cap(*l.pooled) <= maxPooled {
		buffers.Put(l.pooled)
	}
	*l = letter{}
}

// letters is one class in the order of its coming.
type letters struct {
	limits Limits
	all    []letter
	bytes  int64
}

// What waits in each class: as many answers as a full broker may give at once on top of those
// with which no more requests are taken, and a burst of whole answers to gets.
var (
	smallLetters = Limits{Requests: 393_216, Bytes: 64 << 20}
	largeLetters = Limits{Requests: 4096, Bytes: 64 << 20}
	fewLetters   = Limits{Requests: 65_536, Bytes: 16 << 20}
)

// add reports whether there was room. One fits into an empty queue whatever its size.
func (q *letters) add(l *letter) bool {
	n := int64(len(l.data))
	if len(q.all) > 0 && (int64(len(q.all)) >= q.limits.Requests || q.bytes+n > q.limits.Bytes) {
		return false
	}
	q.all, q.bytes = append(q.all, *l), q.bytes+n
	return true
}

// startWriter starts the goroutine, which calls send; close ends it.
func startWriter(send func(*letter)) *writer {
	w := &writer{send: send, done: make(chan struct{})}
	w.small.limits, w.large.limits = smallLetters, largeLetters
	w.wake.L, w.roomy.L = &w.mu, &w.mu
	go w.run()
	return w
}

// add takes a letter and reports whether there was room. It does not wait.
func (w *writer) add(l *letter) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	q := &w.small
	if l.large {
		q = &w.large
	}
	if w.ending || !q.add(l) {
		return false
	}
	w.wake.Signal() // only the goroutine waits
	return true
}

// room returns when few small ones wait. Who asks for more is not read from until then.
func (w *writer) room() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for !w.open && (int64(len(w.small.all)) > fewLetters.Requests || w.small.bytes > fewLetters.Bytes) {
		w.roomy.Wait()
	}
}

// letGo lets all go who wait for room, now and later.
func (w *writer) letGo() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open = true
	w.roomy.Broadcast()
}

// run sends the small ones first, and a large one when there are none.
func (w *writer) run() {
	defer close(w.done)
	for now := []letter(nil); w.next(&now); now = now[:0] {
		for i := range now {
			w.send(&now[i])
			now[i].release()
		}
	}
}

// next moves what is to be sent into now, which is empty; false means that nothing comes.
func (w *writer) next(now *[]letter) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.small.all)+len(w.large.all) == 0 {
		if w.ending {
			return false
		}
		w.wake.Wait()
	}
	if len(w.small.all) > 0 {
		*now, w.small.all, w.small.bytes = w.small.all, *now, 0
		w.roomy.Broadcast()
		return true
	}
	first := &w.large.all[0]
	w.large.bytes -= int64(len(first.data))
	*now = append(*now, *first)
	*first = letter{}
	w.large.all = w.large.all[1:]
	return true
}

// close sends what waits and ends the goroutine. It may be called more than once.
func (w *writer) close() {
	w.mu.Lock()
	w.ending = true
	w.wake.Signal()
	w.mu.Unlock()
	<-w.done
}

// waiting returns what is in the queues.
func (w *writer) waiting() (answers, bytes int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return int64(len(w.small.all) + len(w.large.all)), w.small.bytes + w.large.bytes
}

// byNATS hands an answer to the writer, with the memory that it lies in.
func (g *Gateway) byNATS(l letter) {
	if g.writer.add(&l) {
		return
	}
	g.metrics.overflow.Inc()
	g.loud.Do(func() {
		g.log.Warn("answer was dropped: too much waits for clients that NATS brings their answers to and that do not read them", "reply", l.reply)
	})
	l.release()
}

// sendLetter is the writer's send.
func (g *Gateway) sendLetter(l *letter) {
	if g.opts.Front != nil && l.nc == g.nc {
		g.opts.Front.Wake(l.reply)
	}
	switch {
	case !l.nobody:
		g.written(l.reply, l.nc.Publish(l.reply, l.data))
	case l.nc == g.nc && !g.shared():
		g.written(l.reply, g.gate.writeRaw("HPUB "+l.reply+" 16 16\r\n"+noResponders+"\r\n"))
	default:
		// A broker reads it this way too; with somebody else's server between us there may be
		// TLS, through which nothing can be slipped.
		g.written(l.reply, l.nc.PublishMsg(&nats.Msg{Subject: l.reply, Header: nats.Header{statusHeader: {statusNobody}}}))
	}
}
