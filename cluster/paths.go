package cluster

import (
	"fmt"
	"strconv"
	"strings"

	"metaq/cluster/registry"
	"metaq/protocol"
)

// DefaultRoot is MetaQ's zk.zkRoot.
const DefaultRoot = "/meta"

// paths knows where each record is. Those outside of nats/ are MetaQ's own, with
// MetaQ's formats; its tools and clients read them.
type paths struct{ root string }

// newPaths cleans a zk.zkRoot as MetaQ does: a leading slash is added, trailing
// ones are removed. Empty means DefaultRoot.
func newPaths(root string) (paths, error) {
	if root == "" {
		root = DefaultRoot
	}
	root = "/" + strings.Trim(root, "/")
	if err := registry.CheckPath(root); err != nil || root == "/" {
		return paths{}, fmt.Errorf("%w: root %q; use one such as %s", registry.ErrInvalid, root, DefaultRoot)
	}
	return paths{root: root}, nil
}

// MetaQ's.
func (p paths) brokerIDs() string       { return p.root + "/brokers/ids" }
func (p paths) brokerID(id int) string  { return p.brokerIDs() + "/" + strconv.Itoa(id) }
func (p paths) master(id int) string    { return p.brokerID(id) + "/master" }
func (p paths) checksum(id int) string  { return p.brokerID(id) + "/master_config_checksum" }
func (p paths) consumers() string       { return p.root + "/consumers" }
func (p paths) offsets(g string) string { return p.consumers() + "/" + g + "/offsets" }
func masterName(id int) string          { return strconv.Itoa(id) + "-m" }
func (p paths) pub(t string, id int) string {
	return p.root + "/brokers/topics-pub/" + t + "/" + masterName(id)
}

func (p paths) sub(t string, id int) string {
	return p.root + "/brokers/topics-sub/" + t + "/" + masterName(id)
}

func (p paths) old(t string, id int) string {
	return p.root + "/brokers/topics/" + t + "/" + masterName(id)
}

func (p paths) offset(group, topic string, id protocol.PartitionID) string {
	return p.offsetsOf(group, topic) + "/" + id.String()
}

func (p paths) offsetsOf(group, topic string) string { return p.offsets(group) + "/" + topic }

// memberName is what MetaQ calls a consumer of a group.
func memberName(group, consumer string) string { return group + "_" + consumer }

func (p paths) member(group, consumer string) string {
	return p.consumers() + "/" + group + "/ids/" + memberName(group, consumer)
}

func (p paths) owner(group, topic string, id protocol.PartitionID) string {
	return p.consumers() + "/" + group + "/owners/" + topic + "/" + id.String()
}

// Ours.
func (p paths) brokers() string            { return p.root + "/nats/brokers" }
func (p paths) broker(id int) string       { return p.brokers() + "/" + strconv.Itoa(id) }
func (p paths) fence(id int) string        { return p.root + "/nats/incarnations/" + strconv.Itoa(id) }
func (p paths) producers() string          { return p.root + "/nats/producers" }
func (p paths) topics() string             { return p.root + "/nats/topics" }
func (p paths) topic(t string) string      { return p.topics() + "/" + t }
func (p paths) partitions(t string) string { return p.root + "/nats/partitions/" + t }
func (p paths) home(t string, id int) string {
	return p.partitions(t) + "/" + strconv.Itoa(id)
}
func (p paths) lease(id int) string      { return p.root + "/nats/leases/" + strconv.Itoa(id) }
func (p paths) group(g string) string    { return p.root + "/nats/groups/" + g }
func (p paths) begin(g, t string) string { return p.group(g) + "/" + t }

// fixed are the persistent nodes that everything else hangs from. A broker makes
// them at its start, so that watches have something to watch.
func (p paths) fixed(id int) []string {
	return []string{
		p.brokerID(id), p.root + "/brokers/topics", p.root + "/brokers/topics-pub", p.root + "/brokers/topics-sub",
		p.consumers(), p.brokers(), p.topics(), p.root + "/nats/partitions", p.root + "/nats/groups",
		registry.ParentOf(p.fence(id)), registry.ParentOf(p.lease(id)),
	}
}
