package cluster

import (
	"context"
	"errors"
	"testing"

	"metaq/cluster/registry"
)

// A read that outlives the caller's patience once gave the bare end of its ctx,
// which told nobody that the registry was the reason.
func TestReadsThatTakeTooLongSayThatTheRegistryIsUnavailable(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	err := inParallel(ctx, 3, func(ctx context.Context, _ int) error {
		cancel()
		<-ctx.Done()
		return errors.Join(registry.ErrUnavailable, ctx.Err())
	})
	if !errors.Is(err, registry.ErrUnavailable) {
		t.Errorf("all reads were cut off: %v", err)
	}
	if err := inParallel(ctx, 3, func(context.Context, int) error { return nil }); !errors.Is(err, registry.ErrUnavailable) {
		t.Errorf("no read was begun: %v", err)
	}
}
