package transport

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"metaq/actors"
	"metaq/protocol"
	"metaq/transport/turns"
)

// Groups: <prefix>.group.<group>.<verb>, JSON; see docs/groups.md.
//
//	limits    maxControlSize of request (commit: maxCommitSize); each connection's share,
//	          see controlTurns; groupsInFlight, those that wait included; the answer at most
//	          one NATS payload
//	400       name not allowed; unknown verb; not the JSON expected; a value out
//	          of range
//	429       too many in flight: back off
//	404, 409, 503 from the group
//	ignored   without a reply subject
//
// Requests do not pass through the dispatcher: nobody counts on their order
// among puts and gets, and they do not hold those up.

// opGroup is the second token of these subjects.
const opGroup = "group"

// maxCommitSize is the largest commit or heartbeat, in bytes: it may name each
// partition of many topics.
const maxCommitSize = 1 << 20

// groupsInFlight bounds requests to groups. Each member has one that waits.
var groupsInFlight = Limits{Requests: 65_536, Bytes: 64 << 20}

// newGroupsAccount counts the requests to groups, which are no partition's.
func newGroupsAccount() *account {
	a := newAccount(newBudget(groupsInFlight), groupsInFlight)
	a.busy = groupsBusy
	return a
}

// subscribeGroups takes the requests of all groups.
func (g *Gateway) subscribeGroups() error {
	take := func(m *nats.Msg) { g.group(g.groups, m, 0) }
	var err error
	if g.opts.Cluster != nil {
		// Any broker takes a request; it knows, or asks the registry, who coordinates the
		// group, and sends the request on to that one's own subject.
		err = g.subscribeTo(g.peers, g.node+opGroup+".*.*", "", take)
	}
	if g.opts.Front != nil {
		return err
	}
	queue := ""
	if g.opts.Cluster != nil {
		queue = anyBroker
	}
	return errors.Join(err, g.subscribeTo(g.nc, g.opts.Subjects.Group("*", "*"), queue, take))
}

func (g *Gateway) subscribeTo(nc *nats.Conn, subject, queue string, take nats.MsgHandler) error {
	sub, err := nc.QueueSubscribe(subject, queue, take) // without a queue it is a subscription like any other
	if err != nil {
		return fmt.Errorf("subscribe to %s: %w", subject, err)
	}
	g.subscribed(sub)
	return nil
}

// groupPatience is how much longer than a put a request to a group may take: it may ask
// the leaders of partitions.
const groupPatience = 2 * peerTimeout

// groupElsewhere sends a request on to the coordinator.
func (g *Gateway) groupElsewhere(m *nats.Msg, group, verb string, broker int, request any, place *turns.Seat) {
	wait := groupPatience
	if beat, ok := request.(protocol.GroupHeartbeat); ok {
		place = nil // it may wait for news
		wait += time.Duration(min(max(beat.WaitMs, 0), protocol.MaxSessionMs)) * time.Millisecond
	}
	err := g.relay.send(m, opGroup, group+"."+verb, broker, onward{
		until:  time.Now().Add(relayPatience + wait),
		nobody: protocol.ErrUnavailable.With("broker %d, which coordinates group %s, is not connected: try again", broker, group),
		seat:   place.Keep(),
	})
	if err != nil {
		place.Leave()
		g.refuse(m, err)
	}
}

// group sends one request on to the groups actor, when it is the turn of its client; 0 is none
// of the front's.
func (g *Gateway) group(account *account, m *nats.Msg, client uint64) {
	if m.Reply == "" {
		g.metrics.noReply.Inc()
		return
	}
	if g.ignoreReply(m) {
		return
	}
	if g.opts.Events.Receive != nil {
		g.opts.Events.Receive(actors.Event{Topic: m.Subject})
	}
	if m.Sub != nil {
		markPart(m, g.sentOn(m))
	}
	if err := oversizedHeaders(m); err != nil {
		g.refuse(m, err)
		return
	}
	sentOn, rest := g.sentOn(m), m.Subject[len(g.prefix):]
	if sentOn {
		rest = m.Subject[len(g.node):]
	}
	name, verb, _ := strings.Cut(rest[len(opGroup)+1:], ".")
	request, page, err := groupRequest(name, verb, m.Data)
	var until time.Time
	var heard actors.Heard
	if verb == protocol.GroupVerbDelete || verb == protocol.GroupVerbReset {
		until, heard = time.Now().Add(clientWait), g.listener(m)
		err = firstOf(err, g.current())
	}
	if err != nil {
		g.refuse(m, err)
		return
	}
	seat := g.turns.ofGroup(request).Take(client, len(m.Data))
	if err := account.admit(1, len(m.Data)); err != nil {
		seat.Leave()
		g.refuse(m, err)
		return
	}
	r := &actors.GroupRequest{
		Group: name, Request: request, Until: until, Heard: heard,
		Ticket: actors.Ticket{From: seatedAccount{account, seat}, Bytes: len(m.Data)},
	}
	if _, beat := request.(protocol.GroupHeartbeat); beat {
		r.Looked = seat.Leave // it may wait for news
	}
	if g.opts.Cluster != nil && !sentOn {
		r.Elsewhere = func(broker int) { g.groupElsewhere(m, name, verb, broker, request, seat) }
	}
	if g.opts.Events.Route != nil {
		g.opts.Events.Route(actors.Event{})
	}
	g.system.Root.RequestWithCustomSender(g.system.NewLocalPID(actors.GroupsActor), r, g.pages.PID(pagePlace(m.Reply, page)))
}

// groupRequest decodes and checks a request: what it asks, and for which page of the answer.
func groupRequest(name, verb string, body []byte) (any, protocol.Page, error) {
	if err := protocol.CheckName("group", name); err != nil {
		return nil, whole, protocol.ErrBadName.With("%v", err)
	}
	if len(body) > maxCommitSize {
		return nil, whole, protocol.ErrTooLarge.With("request has %d bytes, the limit is %d", len(body), maxCommitSize)
	}
	switch verb {
	case protocol.GroupVerbInfo:
		return listing(actors.GroupDescribe{})(body)
	case protocol.GroupVerbOffsets:
		return listing(actors.GroupCommitted{})(body)
	}
	request, err := memberRequest(verb, body)
	if r, is := request.(protocol.GroupHeartbeat); is {
		return r, r.Page(), err
	}
	return request, whole, err
}

// memberRequest decodes and checks a request whose answer is asked for from its beginning,
// or a heartbeat.
func memberRequest(verb string, body []byte) (any, error) {
	switch verb {
	case protocol.GroupVerbJoin:
		var r protocol.GroupJoin
		err := decodeControl(body, &r)
		if err == nil {
			err = r.Check()
		}
		return r, err
	case protocol.GroupVerbHeartbeat:
		return decodeChecked[protocol.GroupHeartbeat](body)
	case protocol.GroupVerbLeave:
		return decodeChecked[protocol.GroupLeave](body)
	case protocol.GroupVerbCommit:
		return decodeChecked[protocol.GroupCommit](body)
	case protocol.GroupVerbReset:
		return decodeChecked[protocol.GroupReset](body)
	case protocol.GroupVerbDelete:
		return decodeGroup[protocol.GroupDelete](body)
	default:
		return nil, protocol.ErrBadName.With("a group has no verb %.40q; use join, heartbeat, leave, commit, offsets, reset, info or delete", verb)
	}
}

// decodeChecked is decodeGroup for a request that judges itself.
func decodeChecked[T any, P interface {
	*T
	Check() error
}](body []byte) (any, error) {
	var r T
	err := protocol.DecodeRequest(body, &r)
	if err == nil {
		err = P(&r).Check()
	}
	return r, err
}

func decodeGroup[T any](body []byte) (any, error) {
	var r T
	err := protocol.DecodeRequest(body, &r)
	return r, err
}
