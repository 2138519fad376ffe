package partition

import (
	"fmt"
	"runtime/debug"

	"metaq/actors"
)

// job is work that is done to a partition's log. Its results are there when done is
// closed.
type job struct {
	work
	done chan struct{}

	failed   error // of the write
	unsynced error // why what was written is not durable
	crash    any   // its panic, which was logged: the partition is to panic in its place
}

// run does the work. Until it returns the log is the job's.
func (j *job) run(e *Env, log actors.Log) {
	defer close(j.done)
	defer func() {
		if r := recover(); r != nil {
			// Here the stack says where; the actor that panics in its place does not know.
			e.Log.Error("write to a log panicked", "reason", fmt.Sprint(r), "stack", string(debug.Stack()))
			j.crash = r
		}
	}()
	e.jobs <- struct{}{}
	defer func() { <-e.jobs }()
	start := e.Now()
	if len(j.bytes) > 0 {
		j.failed = log.Append(j.bytes, j.around)
		e.metrics.stageAppend.Observe(e.Now().Sub(start).Seconds())
	}
	if j.sync && j.failed == nil {
		start = e.Now()
		j.unsynced = log.Sync()
		e.metrics.synced(e.Now().Sub(start))
	}
}
