package transport

import (
	"errors"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"metaq/protocol"
)

// metrics of one gateway. The counters of an operation are looked up once, not
// for each message.
type metrics struct {
	puts, batches, gets, offsets traffic

	refused     *prometheus.CounterVec
	badReply    prometheus.Counter
	noReply     prometheus.Counter
	unanswered  prometheus.Counter
	overflow    prometheus.Counter
	shed        prometheus.Counter
	slowSignals prometheus.Counter
	reconnects  prometheus.Counter
	stalls      prometheus.Counter
	sentOn      prometheus.Counter
	windowFull  prometheus.Counter
}

// traffic counts the requests of one operation.
type traffic struct {
	requests prometheus.Counter
	bytes    prometheus.Counter
}

// newMetrics registers with reg, which may be nil.
func newMetrics(reg prometheus.Registerer, g *Gateway) *metrics {
	auto := promauto.With(reg)
	requests := auto.NewCounterVec(prometheus.CounterOpts{
		Name: "metaq_requests_total",
		Help: "Requests that the gateway took, refused ones included.",
	}, []string{"op"})
	bytes := auto.NewCounterVec(prometheus.CounterOpts{
		Name: "metaq_request_bytes_total",
		Help: "Bytes of the payloads of those requests.",
	}, []string{"op"})
	of := func(op string) traffic {
		return traffic{requests: requests.WithLabelValues(op), bytes: bytes.WithLabelValues(op)}
	}
	gauge := func(name, help string, labels prometheus.Labels, value func() int64) {
		auto.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels},
			func() float64 { return float64(value()) })
	}
	inflight := map[string]func() (requests, bytes int64){"put": g.puts.inflight, "get": g.reads.inflight}
	if g.relay != nil {
		inflight["sent_on"] = g.relay.inflight // what other brokers are to answer
	}
	for kind, now := range inflight {
		labels := prometheus.Labels{"kind": kind}
		gauge("metaq_inflight_requests", "Requests that were admitted and not yet answered. At its limit new ones are refused with 429.", labels,
			func() int64 { requests, _ := now(); return requests })
		gauge("metaq_inflight_bytes", "Bytes of the requests that were admitted and not yet answered.", labels,
			func() int64 { _, bytes := now(); return bytes })
	}
	gauge("metaq_gateway_backlog", "Messages that the gateway has not looked at; what a client sent together counts once. A rise means that it has no processor time.", nil,
		func() int64 { return int64(len(g.counter.requests) + len(g.incoming) + len(g.peersIn)) })
	if f := g.opts.Front; f != nil {
		gauge("metaq_clients", "Clients that are connected to the broker.", nil, func() int64 { return int64(f.Clients()) })
		gauge("metaq_clients_held", "Clients whose sockets are not read from now, because too many requests wait for the gateway, or the client has its share of requests for groups and administration under way. They are read again when some have been answered.", nil,
			func() int64 { return g.counter.held.Load() + g.turns.held() })
		gauge("metaq_outbound_bytes", "Bytes of answers and messages that wait for clients. At maxOutboundBytes the client for which most waits is cut off.", nil, f.Outbound)
		gauge("metaq_unfinished_bytes", "Bytes read of large messages whose rest has not come. At a quarter of maxOutboundBytes their clients wait for one another, and those that do not send the rest within a second are cut off.", nil, f.Unfinished)
		for name, c := range map[string]struct {
			help string
			now  func() int64
		}{
			"metaq_connections_refused_total":   {"Connections that were refused because of maxConnections or maxConnectionsPerAddress, or closed because they said no CONNECT in time.", f.RefusedConnections},
			"metaq_subscriptions_refused_total": {"Subscriptions that were refused because the client has maxSubscriptions, or the subject more than 32 tokens.", f.RefusedSubs},
		} {
			auto.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: c.help}, func() float64 { return float64(c.now()) })
		}
		auto.NewCounterFunc(prometheus.CounterOpts{
			Name: "metaq_clients_cut_off_total",
			Help: "Clients that were cut off because they did not take what they had asked for.",
		}, func() float64 { return float64(f.CutOff()) })
	}
	auto.NewCounterFunc(prometheus.CounterOpts{
		Name: "metaq_gateway_dropped_total",
		Help: "Requests that were dropped without an answer because the backlog was full. Must stay 0; a rise means that the broker is overrun.",
	}, func() float64 { return float64(g.dropped()) })
	return &metrics{
		puts: of(protocol.OpPut), batches: of(protocol.OpBatch), gets: of(protocol.OpGet), offsets: of(protocol.OpOffsets),
		refused: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "metaq_gateway_refusals_total",
			Help: "Requests that the gateway refused, by the code of the answer. 429 means that producers are faster than the disk.",
		}, []string{"code"}),
		badReply: auto.NewCounter(prometheus.CounterOpts{
			Name: "metaq_bad_reply_subject_total",
			Help: "Requests that were not carried out because their reply subject lies inside the broker's own subjects. A rise means that a client is wrong or hostile.",
		}),
		noReply: auto.NewCounter(prometheus.CounterOpts{
			Name: "metaq_no_reply_subject_total",
			Help: "Requests other than puts that were ignored because they have no reply subject, and refused puts without one.",
		}),
		unanswered: auto.NewCounter(prometheus.CounterOpts{
			Name: "metaq_unanswered_total",
			Help: "Answers that could not be handed to NATS. A rise means that the connection to NATS is gone.",
		}),
		overflow: auto.NewCounter(prometheus.CounterOpts{
			Name: "metaq_answers_dropped_total",
			Help: "Answers that NATS was to bring and that were dropped, because too many wait for clients that do not read theirs.",
		}),
		shed: auto.NewCounter(prometheus.CounterOpts{
			Name: "metaq_gateway_shed_total",
			Help: "Requests that were refused with 429 before anybody looked at them. A rise means that the broker gets more than its processors can look at.",
		}),
		slowSignals: auto.NewCounter(prometheus.CounterOpts{
			Name: "metaq_gateway_errors_total",
			Help: "Errors that the NATS client library reported.",
		}),
		sentOn: auto.NewCounter(prometheus.CounterOpts{
			Name: "metaq_sent_on_total",
			Help: "Requests that were sent on to the broker that leads their partition or coordinates their group. A client that is connected to that one saves the hop.",
		}),
		windowFull: auto.NewCounter(prometheus.CounterOpts{
			Name: "metaq_sent_on_refused_total",
			Help: "Requests that were refused with 429 because too many wait for the broker that is to answer them. A rise means that clients of this broker outrun that one.",
		}),
		stalls: auto.NewCounter(prometheus.CounterOpts{
			Name: "metaq_standstills_total",
			Help: "Times that the process stood still for 4 s or more. For 5 s after each, changes of topics and resets and deletions of groups are refused with 503. A rise means a machine that is paused, or that swaps.",
		}),
		reconnects: auto.NewCounter(prometheus.CounterOpts{
			Name: "metaq_gateway_reconnects_total",
			Help: "Reconnects to NATS. Requests that were on their way are lost without an answer.",
		}),
	}
}

func (t traffic) add(requests, bytes int) {
	t.requests.Add(float64(requests))
	t.bytes.Add(float64(bytes))
}

func (m *metrics) refuse(err error) {
	code := protocol.ErrInternal.Code
	var e *protocol.Error
	if errors.As(err, &e) {
		code = e.Code
	}
	m.refused.WithLabelValues(strconv.Itoa(code)).Inc()
}
