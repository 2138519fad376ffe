package transport

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"pgregory.net/rapid"

	"metaq/transport/front"
)

// scriptedPut is a put of TestPutsThatCameTogether.
type scriptedPut struct {
	subject string
	header  nats.Header
	body    string
	quiet   bool // nobody is answered
}

// togetherScript is what a client sends: runs of one subject, and all that ends or spoils one.
func togetherScript() []scriptedPut {
	var all []scriptedPut
	add := func(n int, subject, body string) {
		for range n {
			all = append(all, scriptedPut{subject: subject, body: fmt.Sprintf("%d %s", len(all), body)})
		}
	}
	add(40, "metaq.put.t.0-0", "")
	all[10].header = nats.Header{"Metaq-Key": {"k"}}
	all[20].header = nats.Header{"A": {"b"}}
	all[30].quiet = true
	add(20, "metaq.put.small", "")
	all[45].body = "more than ten bytes"
	add(3, "metaq.put.closed", "")
	add(20, "metaq.put.t", "in turn")
	add(3, "metaq.put.t.0-3", "nobody leads")
	add(3, "metaq.put.none", "no topic")
	add(3, "metaq.put.t.0-9", "no partition")
	add(3, "metaq.get.t", "not a put")
	for range 10 {
		add(1, "metaq.put.t.0-0", "back")
		add(2, "metaq.put.small", "")
	}
	add(100, "metaq.put.t.0-2", "too many")
	add(40, "metaq.put.t.0-1", strings.Repeat("too large together ", 45))
	return all
}

// What is served together is served as if it had come alone: the answers, what is stored and
// in which order, what is refused when a partition has too much, and what is counted.
func TestPutsThatCameTogether(t *testing.T) {
	type outcome struct {
		Answers []string
		Stored  [][]string
		Metrics []float64
	}
	play := func(t *testing.T, together bool) (out outcome, most int) {
		deploy := func(*Options) {}
		if !together {
			deploy = external(t)
		}
		r := newRig(t, func(o *Options) {
			deploy(o)
			o.Partition = Limits{Requests: 64, Bytes: 20_000}
		})
		if together {
			r.opts.Front.Take(func(all *front.Requests) {
				most = max(most, len(all.All()))
				r.counter.hand(all)
			})
		}
		r.parts[1].holdBack()
		r.parts[2].holdBack()
		if err := r.asker.nc.Flush(); err != nil {
			t.Fatal(err)
		}
		script := togetherScript()
		tokens := make([]string, len(script))
		for i, p := range script {
			if p.quiet {
				if err := r.asker.nc.Publish(p.subject, []byte(p.body)); err != nil {
					t.Fatal(err)
				}
				continue
			}
			tokens[i] = r.request(p.subject, p.header, p.body)
		}
		refused := tokens[slices.IndexFunc(script, func(p scriptedPut) bool { return p.subject == "metaq.put.t.0-1" })+39]
		r.wait(refused) // the last one, when all have been looked at
		r.parts[1].release()
		r.parts[2].release()
		for i, p := range script {
			if !p.quiet {
				out.Answers = append(out.Answers, fmt.Sprintf("%d %s: %s", i, p.subject, r.wait(tokens[i])))
			}
		}
		for _, p := range r.parts {
			var stored []string
			for _, record := range p.stored() {
				stored = append(stored, fmt.Sprintf("%q %s %v", record.Key, record.Value, record.Headers))
			}
			out.Stored = append(out.Stored, stored)
		}
		for _, name := range []string{"metaq_requests_total", "metaq_request_bytes_total", "metaq_gateway_refusals_total", "metaq_inflight_requests", "metaq_inflight_bytes"} {
			out.Metrics = append(out.Metrics, r.metric(name))
		}
		return out, most
	}
	alone, _ := play(t, false)
	together, most := play(t, true)
	if d := cmp.Diff(alone, together); d != "" {
		t.Error(d)
	}
	if most < 2 {
		t.Error("none came together")
	}
	if inflight := together.Metrics[3:]; inflight[0] != 0 || inflight[1] != 0 {
		t.Errorf("%v requests and bytes are still counted", inflight)
	}
}

// What puts were on their way in is used again when all are answered, and not before.
func TestOutgoingIsUsedAgainWhenAllAreAnswered(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		held := map[*outgoing]int{} // not answered
		for range rapid.IntRange(1, 100).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "new") || len(held) == 0 {
				n := rapid.IntRange(1, front.ManyRequests).Draw(t, "puts")
				o := newOutgoing(n)
				if held[o] > 0 {
					t.Fatalf("it is used while %d are not answered", held[o])
				}
				if len(o.All) != n {
					t.Fatalf("%d places of %d", len(o.All), n)
				}
				for i := range o.All {
					if o.All[i].From != nil || o.All[i].Record.Value != nil || o.from[i].Id != "" {
						t.Fatalf("%+v was left in it", &o.All[i])
					}
					o.All[i].From, o.All[i].Record.Value, o.from[i].Id = &o.from[i], []byte("x"), "somebody"
				}
				held[o] = n
				continue
			}
			for o, n := range held {
				answered := rapid.IntRange(1, n).Draw(t, "answered")
				if held[o] -= answered; held[o] == 0 {
					delete(held, o)
				}
				o.Release(answered)
				break
			}
		}
	})
}
