package transport

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"metaq/actors"
	"metaq/protocol"
)

// Administration: <prefix>.admin.<noun>.<verb>, JSON, shown as the NATS micro
// service "metaq", so that `nats micro ls` finds it. The client's own broker answers
// each request.
//
//	limits    maxControlSize of request; each connection's share, see controlTurns; with an
//	          existing NATS deployment Options.Admin requests in flight
//	400       name not allowed; not the JSON expected; a number out of range
//	429       too many in flight, with an existing NATS deployment: back off
//	404, 409, 503 from the topics actor
//	ignored   without a reply subject

// opAdmin is the second token of these subjects.
const opAdmin = "admin"

// adminEndpoint is one subject of the service.
type adminEndpoint struct {
	noun, verb string
	actor      string // who answers
	about      string // for `nats micro info`
	decode     func(body []byte) (message any, page protocol.Page, err error)
}

var adminEndpoints = []adminEndpoint{
	{"topic", "create", actors.TopicsActor, `{"topic","partitions","config"}: create a topic`, func(b []byte) (any, protocol.Page, error) {
		var r protocol.TopicCreate
		err := decodeControl(b, &r)
		return actors.CreateTopic{Request: r}, whole, firstOf(err, topicName(r.Topic), partitions(r.Partitions))
	}},
	{"topic", "set", actors.TopicsActor, `{"topic","partitions","config"}: change a topic`, func(b []byte) (any, protocol.Page, error) {
		var r protocol.TopicSet
		err := decodeControl(b, &r)
		return actors.SetTopic{Request: r}, whole, firstOf(err, topicName(r.Topic), partitions(r.Partitions))
	}},
	{"topic", "info", actors.TopicsActor, `{"topic","auto_create","after","limit"}: describe a topic and its partitions`, func(b []byte) (any, protocol.Page, error) {
		var r protocol.TopicName
		err := decodeControl(b, &r)
		page := protocol.Page{After: r.After, Limit: r.Limit}
		err = firstOf(err, topicName(r.Topic), page.Check())
		if r.AutoCreate { // a producer waits to use it; the topics actor knows whether it may be made
			return actors.AutoCreate{Topic: r.Topic}, page, err
		}
		return actors.DescribeTopic{Topic: r.Topic}, page, err
	}},
	{"topic", "delete", actors.TopicsActor, `{"topic","born"}: delete a topic and its messages`, func(b []byte) (any, protocol.Page, error) {
		var r protocol.TopicName
		err := decodeControl(b, &r)
		return actors.DeleteTopic{Topic: r.Topic, Born: r.Born}, whole, firstOf(err, topicName(r.Topic))
	}},
	{"topic", "ls", actors.TopicsActor, `{"after","limit"}: list the topics`, listing(actors.ListTopics{})},
	{"group", "ls", actors.GroupsActor, `{"after","limit"}: list the consumer groups of all brokers`, listing(actors.ListGroups{})},
	{"producer", "id", actors.ClusterActor, `{}: grant an id to a new native producer`, func(b []byte) (any, protocol.Page, error) {
		return actors.GrantProducer{}, whole, decodeControl(b, &struct{}{})
	}},
	{"broker", "info", actors.BrokerActor, `{}: describe the broker that answers`, func(b []byte) (any, protocol.Page, error) {
		return actors.DescribeBroker{}, whole, decodeControl(b, &struct{}{})
	}},
	{"cluster", "info", actors.BrokerActor, `{"after","limit"}: describe the cluster`, listing(actors.DescribeCluster{})},
}

// whole is the first page, as large as it may be: for those that ask for no page.
var whole protocol.Page

// listing decodes a request for a list that an actor answers with all of.
func listing(message any) func(b []byte) (any, protocol.Page, error) {
	return func(b []byte) (any, protocol.Page, error) {
		var r protocol.ListRequest
		err := decodeControl(b, &r)
		return message, r.Page(), firstOf(err, r.Page().Check())
	}
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func topicName(name string) error {
	if err := protocol.CheckName("topic", name); err != nil {
		return protocol.ErrBadName.With("%v", err)
	}
	return nil
}

func partitions(n int) error {
	if n < 0 || n > protocol.MaxPartitions {
		return protocol.ErrBadRequest.With("partitions %d is out of range: use 1 to %d", n, protocol.MaxPartitions)
	}
	return nil
}

// semver is what the micro service takes as a version.
var semver = regexp.MustCompile(`^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$`)

// endpoint is an adminEndpoint at its subject.
type endpoint struct {
	adminEndpoint
	subject           string
	requests, refused atomic.Int64
}

func (e *endpoint) name() string { return e.noun + "-" + e.verb }

func (e *endpoint) metadata() map[string]string { return map[string]string{"request": e.about} }

func (g *Gateway) newEndpoints() map[string]*endpoint {
	all := make(map[string]*endpoint, len(adminEndpoints))
	for _, e := range adminEndpoints {
		subject := g.opts.Subjects.Admin(e.noun, e.verb)
		all[subject] = &endpoint{adminEndpoint: e, subject: subject}
	}
	return all
}

// serveAdmin begins to answer who asks for services, and, with an existing NATS deployment,
// administration requests: those of its own clients the front hands over.
func (g *Gateway) serveAdmin() error {
	version := g.opts.Version
	if !semver.MatchString(version) {
		version = "0.0.0"
	}
	if g.opts.Front != nil {
		service, err := g.announce(version)
		if err == nil {
			g.service = service
		}
		return err
	}
	service, err := micro.AddService(g.nc, micro.Config{
		Name: serviceName, Version: version, Description: serviceAbout, Metadata: g.opts.Metadata,
	})
	if err != nil {
		return fmt.Errorf("start admin service: %w", err)
	}
	g.service = service
	for _, like := range adminEndpoints {
		e := g.endpoints[g.opts.Subjects.Admin(like.noun, like.verb)]
		take := func(r micro.Request) {
			g.admin(e, &nats.Msg{Subject: r.Subject(), Reply: r.Reply(), Data: r.Data()}, 0)
		}
		err := service.AddEndpoint(e.name(), micro.HandlerFunc(take),
			micro.WithEndpointSubject(e.subject), micro.WithEndpointMetadata(e.metadata()))
		if err != nil {
			return fmt.Errorf("serve %s: %w", e.subject, err)
		}
	}
	return g.nc.Flush()
}

// admin sends one request on, when it is the turn of its client; 0 is none of the front's. It
// does not wait for the answer, which the actor sends to the reply subject: one slow request
// holds no other up.
func (g *Gateway) admin(e *endpoint, m *nats.Msg, client uint64) {
	e.requests.Add(1)
	if m.Reply == "" {
		g.metrics.noReply.Inc()
		return
	}
	if g.ignoreReply(m) {
		return
	}
	message, page, err := e.decode(m.Data)
	if large := oversizedHeaders(m); large != nil {
		err = large
	}
	switch r := message.(type) {
	case actors.AutoCreate:
		r.From = g.addressOf(m.Reply)
		message = r
	case actors.CreateTopic, actors.SetTopic, actors.DeleteTopic:
		message = actors.Dated{Request: message, Until: time.Now().Add(clientWait), Heard: g.listener(m)}
		err = firstOf(err, g.current())
	}
	if err == nil && client != 0 {
		g.turns.ofAdmin(message).Enter(client, 1)
	} else if err == nil && g.adminNow.Add(1) > int64(g.opts.Admin) {
		g.adminNow.Add(-1)
		err = protocol.ErrBusy.With("%d administration requests are in flight: back off and try again", g.opts.Admin)
	}
	if err != nil {
		e.refused.Add(1)
		g.refuse(m, err)
		return
	}
	g.system.Root.RequestWithCustomSender(g.system.NewLocalPID(e.actor), message, g.adminReplies.PID(adminPlace(client, changes(message), pagePlace(m.Reply, page))))
}

// answerAdmin is what a PID of an administration request leads to.
func (g *Gateway) answerAdmin(place string, message any) {
	client, change, page := fromAdminPlace(place)
	switch {
	case client == 0:
		g.adminNow.Add(-1)
	case change:
		g.turns.changes.Leave(client, 1)
	default:
		g.turns.questions.Leave(client, 1)
	}
	g.answerPage(page, message)
}

// adminPlace is a pagePlace with the client whose turn ends with the answer, and whether that is
// one among changes.
func adminPlace(client uint64, change bool, page string) string {
	return strconv.FormatUint(client, 36) + " " + strconv.FormatBool(change) + " " + page
}

func fromAdminPlace(place string) (client uint64, change bool, page string) {
	id, rest, _ := strings.Cut(place, " ")
	kind, page, _ := strings.Cut(rest, " ")
	client, _ = strconv.ParseUint(id, 36, 64) // adminPlace wrote it
	return client, kind == strconv.FormatBool(true), page
}
