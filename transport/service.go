package transport

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

const (
	serviceName  = "metaq"
	serviceAbout = "MetaQ: topics, brokers and cluster"
)

// service answers who asks for the services of a NATS deployment, as `nats micro` does. It is
// the discovery half of a micro service: requests to the endpoints do not come this way, since
// the library's half would subscribe to them, where clients could as well.
type service struct {
	g    *Gateway
	self micro.ServiceIdentity
	from time.Time
	subs []*nats.Subscription
}

// announce begins to answer.
func (g *Gateway) announce(version string) (*service, error) {
	s := &service{g: g, from: time.Now().UTC(), self: micro.ServiceIdentity{
		// Not the library's ids: they count, and other secrets of a process may be of that row.
		Name: serviceName, ID: rand.Text(), Version: version, Metadata: g.opts.Metadata,
	}}
	if s.self.Metadata == nil {
		s.self.Metadata = map[string]string{}
	}
	for verb, answer := range map[micro.Verb]func() any{micro.PingVerb: s.ping, micro.InfoVerb: s.info, micro.StatsVerb: s.stats} {
		for _, to := range [][2]string{{}, {serviceName}, {serviceName, s.self.ID}} {
			subject, err := micro.ControlSubject(verb, to[0], to[1])
			if err != nil {
				return nil, fmt.Errorf("name the admin service: %w", err)
			}
			sub, err := g.nc.Subscribe(subject, func(m *nats.Msg) { s.respond(m, answer()) })
			if err != nil {
				return nil, fmt.Errorf("subscribe to %s: %w", subject, err)
			}
			s.subs = append(s.subs, sub)
		}
	}
	return s, g.nc.Flush()
}

func (s *service) respond(m *nats.Msg, answer any) {
	if m.Reply == "" || s.g.ignoreReply(m) {
		return
	}
	data, err := json.Marshal(answer)
	if err != nil {
		s.g.log.Error("admin service cannot describe itself", "err", err)
		return
	}
	s.g.byNATS(letter{nc: s.g.nc, reply: m.Reply, data: data})
}

func (s *service) ping() any {
	return micro.Ping{ServiceIdentity: s.self, Type: micro.PingResponseType}
}

func (s *service) info() any {
	info := micro.Info{ServiceIdentity: s.self, Type: micro.InfoResponseType, Description: serviceAbout}
	for e := range s.endpoints {
		info.Endpoints = append(info.Endpoints, micro.EndpointInfo{Name: e.name(), Subject: e.subject, Metadata: e.metadata()})
	}
	return info
}

func (s *service) stats() any {
	stats := micro.Stats{ServiceIdentity: s.self, Type: micro.StatsResponseType, Started: s.from}
	for e := range s.endpoints {
		stats.Endpoints = append(stats.Endpoints, &micro.EndpointStats{
			Name: e.name(), Subject: e.subject, NumRequests: int(e.requests.Load()), NumErrors: int(e.refused.Load()),
		})
	}
	return stats
}

// endpoints yields those of the administration in their order.
func (s *service) endpoints(yield func(*endpoint) bool) {
	for _, e := range adminEndpoints {
		if !yield(s.g.endpoints[s.g.opts.Subjects.Admin(e.noun, e.verb)]) {
			return
		}
	}
}

// Stop implements stopper.
func (s *service) Stop() (err error) {
	for _, sub := range s.subs {
		if e := sub.Unsubscribe(); e != nil && !errors.Is(e, nats.ErrConnectionClosed) {
			err = errors.Join(err, fmt.Errorf("leave %s: %w", sub.Subject, e))
		}
	}
	return err
}
