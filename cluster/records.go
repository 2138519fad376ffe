package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"strconv"
	"strings"
	"time"

	"metaq/cluster/registry"
	"metaq/protocol"
)

// ErrRecord says that a node holds something that is not what belongs there.
var ErrRecord = errors.New("record cannot be read")

// ErrEpochs says that a partition has reached the last epoch there is.
var ErrEpochs = errors.New("epochs are used up: delete the topic in all, and create it under another name")

// Topic is a topic's record.
type Topic struct {
	Name       string               `json:"-"`
	Partitions int                  `json:"partitions"` // on each broker, 1..protocol.MaxPartitions
	Config     protocol.TopicConfig `json:"config,omitzero"`
	// Born tells topics apart that had the same name one after the other: all epochs of
	// the topic's partitions are above it, and those of the topics before it are not. 0
	// for the first one, and for those that a release without it made. CreateTopic sets it,
	// to what it says or the EpochFloor, whichever is higher; it never changes.
	Born    protocol.Epoch   `json:"born,omitempty"`
	Version registry.Version `json:"-"` // of the record; filled by reading
}

// Check says what is wrong with a topic before it is written.
func (t Topic) Check() error {
	if err := protocol.CheckName("topic", t.Name); err != nil {
		return fmt.Errorf("%w: %w", registry.ErrInvalid, err)
	}
	if t.Partitions < 1 || t.Partitions > protocol.MaxPartitions {
		return fmt.Errorf("%w: topic %s: %d partitions; use 1 to %d", registry.ErrInvalid, t.Name, t.Partitions, protocol.MaxPartitions)
	}
	return nil
}

// Broker is what a broker announces of itself, under nats/brokers/<id>.
type Broker struct {
	ID         int       `json:"id"`
	Token      string    `json:"token"`                 // durable and secret to nobody: tells a restart from a stranger
	Version    string    `json:"version"`               // of the program
	NATS       string    `json:"nats"`                  // URL for clients
	Route      string    `json:"route,omitempty"`       // URL for the other brokers' NATS servers
	Host       string    `json:"host"`                  // MetaQ's host
	ServerPort int       `json:"server_port,omitempty"` // MetaQ's TCP port
	Started    time.Time `json:"started"`
	Checksum   uint32    `json:"checksum,omitempty"` // CRC-32 of server.ini, for MetaQ's slaves; 0 = not announced
	Revision   uint64    `json:"revision"`           // counts this registration's writes; filled by Registration
}

// metaURL is the broker's address in MetaQ's form: meta://host:port.
func (b Broker) metaURL() string {
	return "meta://" + net.JoinHostPort(b.Host, strconv.Itoa(b.ServerPort))
}

// leadership is that of one partition as the registry has it.
type leadership struct {
	Epoch  protocol.Epoch `json:"epoch"`
	Leader int            `json:"leader"` // broker id; NoLeader when given back
}

// coordination is the record of a consumer group.
type coordination struct {
	leadership
	Deleted protocol.Epoch `json:"deleted,omitempty"` // see Group.Deleted
}

// NoLeader stands for the id of a leader or coordinator that is not there.
const NoLeader = -1

// topicAd is MetaQ's record of a broker's topic. MetaQ refuses unknown fields.
type topicAd struct {
	NumParts int    `json:"numParts"`
	Broker   string `json:"broker"`
}

// encode writes a record as JSON. The types above cannot fail.
func encode(record any) []byte {
	b, err := json.Marshal(record)
	if err != nil {
		panic(fmt.Sprintf("cluster: encode %T: %v", record, err))
	}
	return b
}

// decode reads a record. Unknown fields are a newer broker's and are let through.
func decode[T any](path string, n registry.Node) (T, error) {
	var record T
	if err := json.Unmarshal(n.Data, &record); err != nil {
		return record, fmt.Errorf("%s: %w: %w", path, ErrRecord, err)
	}
	return record, nil
}

// Progress is a consumer group's place in a partition: MetaQ's <msgId>-<offset>.
type Progress struct {
	MessageID int64 // of the last consumed message; -1 when there is none, and see ProgressAt
	Offset    int64 // where to go on; a byte position in MetaQ, what the caller says here
}

// String returns MetaQ's form, for example -5468928392185249792-25.
func (p Progress) String() string {
	return strconv.FormatInt(p.MessageID, 10) + "-" + strconv.FormatInt(p.Offset, 10)
}

// ProgressAt is a place at which the epoch of the record before offset is known, unless it
// is 0. MetaQ has no epochs: they take the place of the id of the last message, which is a
// number to MetaQ's programs that means something to nobody but the broker that gave it.
// -1 is no id, and -6 is epoch 5; MetaQ's own ids are far from zero.
func ProgressAt(offset protocol.Offset, epoch protocol.Epoch) Progress {
	return Progress{MessageID: -1 - int64(epoch), Offset: int64(offset)}
}

// Epoch returns the epoch of the record before Offset, or 0 when that is not known.
func (p Progress) Epoch() protocol.Epoch {
	if p.MessageID >= 0 || p.MessageID < -1-math.MaxUint32 {
		return 0
	}
	return protocol.Epoch(-1 - p.MessageID)
}

// ParseProgress reads MetaQ's form: split at the last dash, as message ids are
// commonly negative. Without a dash after the first character it is the form from
// before MetaQ 1.4, an offset alone, and the message id is -1.
func ParseProgress(s string) (Progress, error) {
	i := strings.LastIndexByte(s, '-')
	p := Progress{MessageID: -1}
	var err1, err2 error
	if i > 0 {
		p.MessageID, err1 = strconv.ParseInt(s[:i], 10, 64)
		s = s[i+1:]
	}
	p.Offset, err2 = strconv.ParseInt(s, 10, 64)
	if err := errors.Join(err1, err2); err != nil || p.Offset < 0 {
		return Progress{}, fmt.Errorf("%w: %.60q is not <message id>-<offset>", ErrRecord, s)
	}
	return p, nil
}
