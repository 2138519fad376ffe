package transport

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/nats-io/nats.go"

	"metaq/actors"
	"metaq/protocol"
)

// Between brokers: <prefix>.node.<broker>.<op>, JSON, in an account that no client
// can reach (with an external NATS deployment, in the clients' one).
//
//	topic   protocol.TopicName -> protocol.TopicInfo with the broker's own partitions
//	topics  {}                 -> protocol.TopicList of the broker's own partitions
//	state   {}                 -> protocol.NodeState
//	groups  {}                 -> protocol.GroupList of the broker's own groups
//	lease   protocol.LeaseAsk  -> protocol.LeaseAnswer
//
// Requests of clients that are sent on have the same subjects with the operation and the
// rest behind it: <prefix>.node.<broker>.put.<topic>.<partition>, or .group.<group>.<verb>.
// They are as the clients sent them. Answers go to <prefix>.node.answer.>.
//
// A broker asks with a deadline and does without the answer when none comes.
const (
	nodeTopic  = "topic"
	nodeTopics = "topics"
	nodeState  = "state"
	nodeGroups = "groups"
	nodeLease  = "lease"

	nodeAnswers = "answer" // in the place of a broker
)

// nodeSubject is a subject of a broker.
func (g *Gateway) nodeSubject(broker int, op string) string {
	return g.opts.Subjects.Node(strconv.Itoa(broker), op)
}

// ClusterEdge is what a Gateway in a cluster has beside its connection.
type ClusterEdge struct {
	BrokerID int
	// Connect opens the connection on which brokers talk to each other. Nil means
	// that they share the clients' one.
	Connect Dial
	// Listens (optional) says whether a broker subscribes to a subject of that
	// connection's account. Without it every broker counts as there.
	Listens func(subject string) bool
	// Lease (optional) answers questions about leases; it does not block.
	Lease func(protocol.LeaseAsk) protocol.LeaseAnswer
	// Shared says that clients' requests reach all brokers, since these share a NATS
	// deployment. Otherwise LocalSubjects must stay in the server of Connect.
	Shared bool
}

// peerAsks bounds the questions to other brokers that wait for an answer, and
// peerTimeout each of them.
const (
	peerAsks    = 256
	peerTimeout = 2 * time.Second
)

// connectPeers connects to the other brokers.
func (g *Gateway) connectPeers() error {
	defer func() { g.askBy.Store(g.peers) }()
	g.peers = g.nc
	dial := g.opts.Cluster.Connect
	if dial == nil {
		return nil
	}
	nc, err := dial(g.peersGate.wrap, nats.Name(g.opts.Name+"-peers"), nats.MaxReconnects(-1),
		nats.ReconnectWait(250*time.Millisecond), nats.ErrorHandler(g.onError),
		nats.CustomInboxPrefix(g.answers+rand.Text()))
	if err != nil {
		return fmt.Errorf("connect to the other brokers: %w", err)
	}
	g.peers = nc
	return nil
}

// servePeers begins to answer the other brokers.
func (g *Gateway) servePeers() error {
	subject := g.nodeSubject(g.opts.Cluster.BrokerID, "*")
	sub, err := g.peers.Subscribe(subject, g.answerPeer)
	if err != nil {
		return fmt.Errorf("subscribe to %s: %w", subject, err)
	}
	g.peerSub = sub
	return g.peers.Flush()
}

// leavePeers asks other brokers nothing more. It comes once all answers are handed over, and
// waits a little for theirs.
func (g *Gateway) leavePeers() (err error) {
	g.asks.Wait()
	if g.relay != nil {
		err = g.relay.close()
	}
	return err
}

// answerPeer sends a broker's question on to the actor that knows.
func (g *Gateway) answerPeer(m *nats.Msg) {
	if m.Reply == "" {
		return
	}
	if g.opts.Cluster.Lease != nil && strings.HasSuffix(m.Subject, "."+nodeLease) {
		var ask protocol.LeaseAsk
		if err := decodeControl(m.Data, &ask); err != nil {
			g.publish(m.Reply, err)
			return
		}
		g.publish(m.Reply, g.opts.Cluster.Lease(ask))
		return
	}
	var message any
	var list protocol.ListRequest // of the answer's pages
	to, err := actors.TopicsActor, error(nil)
	switch op := m.Subject[strings.LastIndexByte(m.Subject, '.')+1:]; op {
	case nodeTopic:
		var r protocol.TopicName
		err = decodeControl(m.Data, &r)
		list.After, message = r.After, actors.DescribeOwn{Topic: r.Topic}
	case nodeTopics:
		err = decodeControl(m.Data, &list)
		message = actors.ListOwn{}
	case nodeState:
		err = decodeControl(m.Data, &list)
		to, message = actors.BrokerActor, actors.DescribeNode{}
	case nodeGroups:
		err = decodeControl(m.Data, &list)
		to, message = actors.GroupsActor, actors.ListOwnGroups{}
	default:
		err = protocol.ErrBadRequest.With("a broker answers no %.40q: the other one is newer", op)
	}
	if err != nil {
		g.publish(m.Reply, err)
		return
	}
	g.system.Root.RequestWithCustomSender(g.system.NewLocalPID(to), message, g.pages.PID(pagePlace(m.Reply, list.Page())))
}

// PeerThere says whether a broker is connected to the cluster at this moment.
func (g *Gateway) PeerThere(broker int) bool {
	if g.opts.Cluster == nil || g.opts.Cluster.Listens == nil {
		return true
	}
	return g.opts.Cluster.Listens(g.nodeSubject(broker, nodeState))
}

// PeerTopic asks a broker for its own partitions of a topic.
func (g *Gateway) PeerTopic(ctx context.Context, broker int, topic string) (all protocol.TopicInfo, err error) {
	err = protocol.EachPage(func(after string) (string, error) {
		page, err := askPeer[protocol.TopicInfo](ctx, g, broker, nodeTopic, protocol.TopicName{Topic: topic, After: after})
		page.Partitions = append(all.Partitions, page.Partitions...)
		all = page
		return page.Next, err
	})
	return all, err
}

// PeerTopics asks a broker for a summary of its own partitions.
func (g *Gateway) PeerTopics(ctx context.Context, broker int) (all protocol.TopicList, err error) {
	err = protocol.EachPage(func(after string) (string, error) {
		page, err := askPeer[protocol.TopicList](ctx, g, broker, nodeTopics, protocol.ListRequest{After: after})
		all.Topics = append(all.Topics, page.Topics...)
		return page.Next, err
	})
	return all, err
}

// PeerState asks a broker how it is.
func (g *Gateway) PeerState(ctx context.Context, broker int) (all protocol.NodeState, err error) {
	err = protocol.EachPage(func(after string) (string, error) {
		page, err := askPeer[protocol.NodeState](ctx, g, broker, nodeState, protocol.ListRequest{After: after})
		page.Failed = append(all.Failed, page.Failed...)
		all = page
		return page.Next, err
	})
	return all, err
}

// PeerGroups asks a broker for its own groups.
func (g *Gateway) PeerGroups(ctx context.Context, broker int) (all protocol.GroupList, err error) {
	err = protocol.EachPage(func(after string) (string, error) {
		page, err := askPeer[protocol.GroupList](ctx, g, broker, nodeGroups, protocol.ListRequest{After: after})
		all.Groups = append(all.Groups, page.Groups...)
		return page.Next, err
	})
	return all, err
}

// PeerLease asks a broker about the lease of a coordinator.
func (g *Gateway) PeerLease(ctx context.Context, broker int, ask protocol.LeaseAsk) (protocol.LeaseAnswer, error) {
	return askPeer[protocol.LeaseAnswer](ctx, g, broker, nodeLease, ask)
}

func askPeer[T any](ctx context.Context, g *Gateway, broker int, op string, request any) (answer T, err error) {
	peers := g.askBy.Load()
	if peers == nil {
		return answer, protocol.ErrUnavailable.With("the gateway has not started")
	}
	data, err := json.Marshal(request)
	if err != nil {
		return answer, err
	}
	m, err := peers.RequestWithContext(ctx, g.nodeSubject(broker, op), data)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return answer, protocol.ErrUnavailable.With("broker %d is not connected", broker)
	case err != nil:
		return answer, protocol.ErrUnavailable.With("broker %d does not answer: %v", broker, err)
	}
	if err := protocol.DecodeError(m.Data); err != nil {
		return answer, err
	}
	return answer, json.Unmarshal(m.Data, &answer)
}

// Leader returns the PID of a partition that another broker leads. Offsets sent to it
// are answered by that broker; puts and gets take the way over NATS themselves.
func (g *Gateway) Leader(topic string, id protocol.PartitionID) *actor.PID {
	return g.leaders.PID(strconv.Itoa(id.Home) + "." + protocol.OpOffsets + "." + topic + "." + id.String())
}

// remote says whether a PID is one of Leader's.
func remote(pid *actor.PID) bool { return pid != nil && pid.Address == addressLeader }

// askLeader is what a PID of a partition elsewhere leads to.
func (g *Gateway) askLeader(place string, message any, sender *actor.PID) {
	m, ok := message.(*actors.Offsets)
	if !ok {
		g.log.Error("a message for another broker's partition cannot be sent on", "place", place, "message", fmt.Sprintf("%T", message))
		g.respond(sender, protocol.ErrInternal.With("%T cannot be sent to another broker", message))
		return
	}
	m.Ticket.Release()
	if sender == nil {
		return
	}
	select {
	case g.asking <- struct{}{}:
	default:
		g.respond(sender, protocol.ErrBusy.With("%d questions to other brokers wait for an answer: back off and try again", peerAsks))
		return
	}
	g.asks.Go(func() {
		defer func() { <-g.asking }()
		g.respond(sender, g.offsetsElsewhere(place, m.Request))
	})
}

func (g *Gateway) respond(to *actor.PID, answer any) {
	if to != nil {
		g.system.Root.Send(to, answer)
	}
}

// offsetsElsewhere asks the leader of a partition: the answer, or the refusal.
func (g *Gateway) offsetsElsewhere(place string, r protocol.OffsetsRequest) any {
	data, err := json.Marshal(r)
	if err != nil {
		return protocol.AsError(err)
	}
	peers := g.askBy.Load()
	if peers == nil {
		return protocol.ErrUnavailable.With("the gateway has not started")
	}
	broker, rest, _ := strings.Cut(place, ".")
	m, err := peers.Request(g.opts.Subjects.Node(broker, rest), data, peerTimeout)
	if err != nil {
		return protocol.ErrUnavailable.With("the leader of %s does not answer: %v", place, err)
	}
	if err := protocol.DecodeError(m.Data); err != nil {
		return err
	}
	var reply protocol.OffsetsReply
	if err := json.Unmarshal(m.Data, &reply); err != nil {
		return protocol.ErrInternal.With("the leader of %s answers %.60q", place, m.Data)
	}
	return reply
}
