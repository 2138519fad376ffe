package broker

import (
	"errors"
	"fmt"

	"metaq/actors"
	"metaq/cluster"
	"metaq/cluster/local"
	"metaq/cluster/registry"
	"metaq/persistence/store"
	"metaq/protocol"
)

// onWire turns an error of the registry into one that a client understands. Its
// text stays. A write that may still be carried out is told first, whatever else is known:
// a later attempt may have found what an earlier one left.
func onWire(err error) error {
	if errors.Is(err, registry.ErrUnknownOutcome) {
		return fmt.Errorf("%w (%w, %w)", protocol.ErrUnavailable.With("%v", err), actors.ErrOutcomeUnknown, err)
	}
	for _, m := range []struct {
		ours error
		wire *protocol.Error
	}{
		{registry.ErrExists, protocol.ErrExists},
		{registry.ErrNotFound, protocol.ErrNoTopic},
		{cluster.ErrFewerPartitions, protocol.ErrConflict},
		{cluster.ErrSubjects, protocol.ErrConflict},
		{cluster.ErrReplaced, protocol.ErrConflict},
		{registry.ErrVersion, protocol.ErrUnavailable},
		{registry.ErrInvalid, protocol.ErrBadRequest},
		{registry.ErrUnavailable, protocol.ErrUnavailable},
		{registry.ErrSessionLost, protocol.ErrUnavailable},
		{registry.ErrClosed, protocol.ErrUnavailable},
		{cluster.ErrFenced, protocol.ErrFenced},
	} {
		if errors.Is(err, m.ours) {
			return fmt.Errorf("%w (%w)", m.wire.With("%v", err), err)
		}
	}
	return err
}

// registryDirError is DirError for the registry's files.
func registryDirError(dir string, err error) error {
	if errors.Is(err, local.ErrLocked) {
		return err // it says all that there is to say
	}
	return store.DirError(dir, err)
}
