package actors

import (
	"time"
)

// GroupRequest is a request to a consumer group, sent to Groups.PID. Request is
// one of protocol.GroupJoin, GroupHeartbeat, GroupLeave, GroupCommit, GroupReset
// and GroupDelete, checked where the type has a Check, or GroupDescribe or
// GroupCommitted. It is answered once with the reply that package protocol names,
// or with an error.
type GroupRequest struct {
	Group   string // checked
	Request any
	Ticket  Ticket
	// Looked (optional) is called once the request lies in no mailbox any more: from then on it
	// only waits. It may be called more than once, and for an early answer not at all.
	Looked func()
	// Elsewhere (optional) sends the request on to the broker that coordinates the
	// group, which then answers it. Without it such a request is refused.
	Elsewhere func(broker int)
	// Until is when a request that destroys something must have been looked at; zero for all
	// others.
	Until time.Time
	Heard Heard // of such a request
}

// GroupDescribe asks a group for its state. Answer: protocol.GroupInfo.
type GroupDescribe struct{}

// GroupCommitted asks a group for its offsets. Answer: protocol.GroupOffsets.
type GroupCommitted struct{}

// ListGroups asks for the groups of all brokers that answer in time. Answer:
// protocol.GroupList.
type ListGroups struct{}

// ListOwnGroups asks for the groups of this broker's log. Answer: protocol.GroupList.
type ListOwnGroups struct{}
