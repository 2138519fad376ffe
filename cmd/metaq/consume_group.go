package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"metaq/client"
	"metaq/internal/cli"
	"metaq/internal/pipe"
	"metaq/protocol"
)

// consumeGroup prints what a member of a group is given.
func consumeGroup(cmd *cobra.Command, c *client.Client, topic string, from client.Start, f *consumeFlags) error {
	_, err := c.Admin().TopicInfo(cmd.Context(), topic)
	missing := errors.Is(err, client.ErrNoTopic)
	switch {
	case missing && f.broadcast:
		return adviseTopic(err) // nobody would tell it of the topic
	case missing:
		cmd.PrintErrf("metaq: topic %s does not exist yet; waiting for its first message\n", topic)
	}
	ctx, end := context.WithCancel(cmd.Context())
	defer end()
	w := &groupWatch{end: end, remark: func(err error) { cmd.PrintErrf("metaq: %v\n", err) }}
	start := time.Now()
	n, err := pipe.ConsumeGroup(ctx, func(handle client.BatchHandler) (pipe.Member, error) {
		start = time.Now() // the waiting to be taken in is not counted
		options := []client.ConsumerOption{
			client.ConsumeFrom(from), client.WithBatchHandler(handle, 1000), client.WithClientName(clientName()),
			client.WithRetries(0, time.Second, time.Second), client.OnFailure(client.StopConsumer),
			client.OnError(w.problem), client.OnPartitions(w.assigned, func([]protocol.TopicPartition) {}),
		}
		if f.instance != "" {
			options = append(options, client.WithInstance(f.instance))
		}
		if f.broadcast {
			options = append(options, client.Broadcast(nil))
		}
		return c.NewConsumer(ctx, f.group, []string{topic}, nil, options...)
	}, cmd.OutOrStdout(), f.o)
	err = errors.Join(w.final(), err)
	if !errors.Is(err, client.ErrNoMessageDir) { // nothing was begun
		printed(cmd, n, start, err)
	}
	if n == 0 && err == nil && f.o.Timeout > 0 && !missing && !w.worked() {
		cmd.PrintErrf("no partition was free: other members have them, or had them within their session; see `metaq group info %s`\n", f.group)
	}
	if f.broadcast {
		err = cli.Advise(err, client.ErrOutOfRange, "move the file of its offsets in messagedir away to begin at --from")
		if errors.Is(err, client.ErrNoMessageDir) {
			err = cli.Usagef("--broadcast: no directory for its offsets: set messagedir= in metaq.ini and give that with --config, or set METAQ_MESSAGE_DIR")
		}
		return err
	}
	return cli.Advise(err, client.ErrOutOfRange, "`metaq group info %s` shows where the group is, `metaq group reset %s --topic %s --to earliest` moves it",
		f.group, f.group, topic)
}

// groupWatch receives the problems that no call of a consumer returns. Its methods may be
// called from any goroutine.
type groupWatch struct {
	end    func() // the consumer
	remark func(error)

	mu    sync.Mutex // guards what follows
	fatal error      // the first problem that needs a human
	had   bool       // a partition
}

// problem ends the consumer when a partition is stuck until somebody acts, which would
// otherwise go unnoticed. Transient problems are only reported.
func (w *groupWatch) problem(err error) {
	if !errors.Is(err, client.ErrOutOfRange) && !errors.Is(err, client.ErrCorrupt) {
		w.remark(err)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fatal == nil {
		w.fatal = err
	}
	w.end()
}

func (w *groupWatch) assigned([]protocol.TopicPartition) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.had = true
}

// final is the problem that ended the consumer, or nil.
func (w *groupWatch) final() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fatal
}

// worked reports whether the member was ever assigned a partition.
func (w *groupWatch) worked() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.had
}

// clientName tells people where a member runs.
func clientName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	name := fmt.Sprintf("metaq, process %d on %s", os.Getpid(), host)
	return protocol.CutText(name, protocol.MaxNameLen)
}
