package system

import (
	"fmt"

	"metaq/actors"
	"metaq/protocol"
)

// gatherCluster joins what the brokers said of themselves. Who is registered and says
// nothing is in the list as not ready, and its partitions have no leader.
func gatherCluster(m *actors.Members, said map[int]protocol.NodeState) protocol.ClusterInfo {
	info := protocol.ClusterInfo{Brokers: []protocol.BrokerInfo{}, Failed: []protocol.FailedPartition{}, Leaderless: []protocol.FailedPartition{}}
	why := make(map[int]string)
	for _, b := range m.Brokers {
		state, ok := said[b.BrokerID]
		if !ok {
			b.Ready = false
			info.Brokers = append(info.Brokers, b)
			why[b.BrokerID] = fmt.Sprintf("broker %d does not answer", b.BrokerID)
			continue
		}
		info.Brokers = append(info.Brokers, state.Broker)
		info.Failed = append(info.Failed, state.Failed...)
		why[b.BrokerID] = ""
	}
	for _, t := range m.Topics {
		for _, id := range t.Claimed {
			text, there := why[id.Home]
			if !there {
				text = fmt.Sprintf("broker %d is away", id.Home)
			}
			if text != "" {
				info.Leaderless = append(info.Leaderless, protocol.FailedPartition{Topic: t.Name, Partition: id, Error: text})
			}
		}
	}
	return info
}
