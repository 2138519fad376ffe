package transport

import (
	"fmt"
	"regexp"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"metaq/actors"
	"metaq/protocol"
	"metaq/transport/front"
)

// Administration: <prefix>.admin.<noun>.<verb>, JSON, served as the NATS micro
// service "metaq", so that `nats micro ls` finds it. In a cluster one broker
// answers each request.
//
//	limits    maxControlSize of request; Options.Admin requests in flight
//	400       name not allowed; not the JSON expected; a number out of range
//	429       too many in flight: back off
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

// serveAdmin adds the micro service to the connection.
func (g *Gateway) serveAdmin() error {
	version := g.opts.Version
	if !semver.MatchString(version) {
		version = "0.0.0"
	}
	service, err := micro.AddService(g.nc, micro.Config{
		Name: "metaq", Version: version, Description: "MetaQ: topics, brokers and cluster",
		Metadata: g.opts.Metadata,
	})
	if err != nil {
		return fmt.Errorf("start admin service: %w", err)
	}
	g.service = service
	for _, e := range adminEndpoints {
		subject := g.opts.Subjects.Admin(e.noun, e.verb)
		err := service.AddEndpoint(e.noun+"-"+e.verb, micro.HandlerFunc(func(r micro.Request) { g.admin(e, r) }),
			micro.WithEndpointSubject(subject),
			micro.WithEndpointMetadata(map[string]string{"request": e.about}))
		if err != nil {
			return fmt.Errorf("serve %s: %w", subject, err)
		}
	}
	return g.nc.Flush()
}

// admin sends one request on. It does not wait: the actor's answer goes to the
// reply subject by itself, so one slow request holds no other up.
func (g *Gateway) admin(e adminEndpoint, r micro.Request) {
	m := &nats.Msg{Subject: r.Subject(), Reply: r.Reply(), Data: r.Data()}
	if m.Reply == "" {
		g.metrics.noReply.Inc()
		return
	}
	if g.ignoreReply(m) {
		return
	}
	message, page, err := e.decode(m.Data)
	if size := r.Headers().Get(front.Oversized); size != "" {
		err = protocol.ErrTooLarge.With("%s", front.TooManyBytes(size))
	}
	switch message.(type) {
	case actors.CreateTopic, actors.SetTopic, actors.DeleteTopic:
		message = actors.Dated{Request: message, Until: time.Now().Add(clientWait)}
		err = firstOf(err, g.current())
	}
	if err == nil && g.adminNow.Add(1) > int64(g.opts.Admin) {
		g.adminNow.Add(-1)
		err = protocol.ErrBusy.With("%d administration requests are in flight: back off and try again", g.opts.Admin)
	}
	if err != nil {
		g.refuse(m, err)
		return
	}
	g.system.Root.RequestWithCustomSender(g.system.NewLocalPID(e.actor), message, g.adminReplies.PID(pagePlace(m.Reply, page)))
}

// answerAdmin is what a PID of an administration request leads to.
func (g *Gateway) answerAdmin(place string, message any) {
	g.adminNow.Add(-1)
	g.answerPage(place, message)
}
