package actors

import (
	"context"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// RegistryCall asks the cluster actor for a call of the registry. do runs on a
// worker; what it returns is sent to to.
type RegistryCall struct {
	To     *actor.PID
	Within time.Duration // from now, the wait for a worker too; 0: Options.CallTimeout
	Do     func(context.Context, Registry) any
	Heard  Heard // the call ends as well when nobody waits for it any more
}
