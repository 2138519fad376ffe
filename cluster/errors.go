package cluster

import (
	"errors"
	"fmt"

	"metaq/protocol"
)

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
