package cluster

import (
	"errors"
	"fmt"
	"path"

	"metaq/protocol"
)

// What a Registry answers. Each is found with errors.Is.
var (
	// ErrNotFound says that the node, or the parent that it needs, is not there.
	ErrNotFound = errors.New("no such node")

	// ErrExists says that the node to create is already there.
	ErrExists = errors.New("node exists")

	// ErrVersion says that the node changed since the version that the caller named.
	ErrVersion = errors.New("node has another version")

	// ErrNotEmpty says that the node to delete has children.
	ErrNotEmpty = errors.New("node has children")

	// ErrEphemeralParent says that an ephemeral node was asked to have a child.
	ErrEphemeralParent = errors.New("an ephemeral node cannot have children")

	// ErrInvalid says that the request itself is wrong: a bad path, a negative version.
	ErrInvalid = errors.New("invalid request")

	// ErrTooLarge says that a request passes MaxMultiOps or MaxMultiBytes; split it.
	ErrTooLarge = errors.New("request too large")

	// ErrDenied says that the credentials in use do not permit the operation.
	ErrDenied = errors.New("permission denied by the registry: set zkAuth to the user in the node's ACL, or change that with setAcl in zkCli.sh")

	// ErrOpenToAll says that a node that must be protected may be written by everybody.
	ErrOpenToAll = errors.New("everybody may write this node")

	// ErrUnavailable says that the registry cannot be asked now. A write that got
	// this error was not done and will not be. Try again later.
	ErrUnavailable = errors.New("registry not available")

	// ErrUnknownOutcome says that a write was handed over, but its answer was not
	// seen: it was done, will be done, or will never be. Read it back to learn which.
	ErrUnknownOutcome = errors.New("outcome unknown")

	// ErrSessionLost says that this incarnation is dead: its ephemeral nodes are
	// gone or going, and the Registry value is of no more use. Open a new one.
	ErrSessionLost = errors.New("registry session lost")

	// ErrClosed says that Close was called on this Registry.
	ErrClosed = errors.New("registry closed")
)

// ErrLocked says that another process uses the data directory.
var ErrLocked = errors.New("data directory is in use")

// OpError tells which operation of a Multi failed. The others were not done.
type OpError struct {
	Index int // place in the Multi, from 0
	Op    Op
	Err   error // one of the errors above
}

// Error names the operation and its path, and the node whose ACL forbade it.
func (e *OpError) Error() string {
	where := e.Op.Path
	if errors.Is(e.Err, ErrDenied) && (e.Op.Kind == OpCreate || e.Op.Kind == OpDelete) {
		where += " in " + path.Dir(e.Op.Path)
	}
	return fmt.Sprintf("%s %s: %v", e.Op.Kind, where, e.Err)
}

// Unwrap gives the reason, for errors.Is.
func (e *OpError) Unwrap() error { return e.Err }

// What a Registration answers besides.
var (
	// ErrFenced says that this incarnation's right has gone to another one: a newer
	// registration of the same broker id, a newer coordinator of the group.
	ErrFenced = errors.New("fenced by a newer incarnation")

	// ErrBrokerIDTaken says that another live process has the broker id; see TakenError.
	ErrBrokerIDTaken = errors.New("broker id is taken")

	// ErrFewerPartitions says that a topic's number of partitions would become smaller.
	ErrFewerPartitions = errors.New("partitions can only become more")

	// ErrReplaced says that the topic meant was deleted, and another one of its name made.
	ErrReplaced = errors.New("the topic was deleted and made again")

	// ErrSubjects says that two topics would listen to the same subject.
	ErrSubjects = errors.New("subjects overlap")

	// ErrCoordinated says that a live broker coordinates the group; see CoordinatedError.
	ErrCoordinated = errors.New("group has a live coordinator")

	// ErrNotCoordinator says that this registration has not claimed the group.
	ErrNotCoordinator = errors.New("group is not coordinated here")
)

// TakenError names the process that has a broker id. errors.Is(err, ErrBrokerIDTaken) holds.
type TakenError struct {
	ID     int
	Holder Broker // what it announced; only Host (a URL) when it is not one of ours
}

// Error names the holder and the way out.
func (e *TakenError) Error() string {
	since := "with MetaQ's own registration only"
	if !e.Holder.Started.IsZero() {
		since = "started " + e.Holder.Started.UTC().Format("2006-01-02T15:04:05Z")
	}
	return fmt.Sprintf("%v: %d is held by %s, %s; choose another brokerId, or stop that process and wait for its session to end",
		ErrBrokerIDTaken, e.ID, e.Holder.Host, since)
}

// Is makes errors.Is(err, ErrBrokerIDTaken) true.
func (e *TakenError) Is(target error) bool { return target == ErrBrokerIDTaken }

// CoordinatedError names the broker that coordinates a group.
type CoordinatedError struct {
	Group  string
	Leader int
	Epoch  protocol.Epoch
}

// Error names group and broker.
func (e *CoordinatedError) Error() string {
	return fmt.Sprintf("%v: %s is at broker %d, epoch %d", ErrCoordinated, e.Group, e.Leader, e.Epoch)
}

// Is makes errors.Is(err, ErrCoordinated) true.
func (e *CoordinatedError) Is(target error) bool { return target == ErrCoordinated }
