package groups

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"metaq/client"
	"metaq/protocol"
)

// memberRole is the environment variable that makes the test binary a member of a
// group. It holds a memberPlan as JSON.
const memberRole = "METAQ_TEST_MEMBER"

// memberSession is how long a member may be silent where members die.
const memberSession = 1500 * time.Millisecond

type memberPlan struct {
	Name     string        `json:"name"`
	Instance string        `json:"instance"` // of a static member
	Servers  []string      `json:"servers"`
	Topics   []string      `json:"topics"`
	Session  time.Duration `json:"session"`
	Commit   time.Duration `json:"commit"` // between two commits
	Early    bool          `json:"early"`  // the planted bug: commit before processing
}

// deed is what a member says that it did. It is written before the handler
// returns, so that a kill -9 takes back nothing that was said.
type deed struct {
	What      string               `json:"what"` // assigned, revoked, processed, committed, didStall, didExpire
	Topic     string               `json:"topic"`
	Partition protocol.PartitionID `json:"partition"`
	Offset    client.Offset        `json:"offset"` // of processed; of committed the next
	Value     string               `json:"value"`
	Began     time.Time            `json:"began"`
	Ended     time.Time            `json:"ended"`
}

func (d *deed) at() protocol.TopicPartition {
	return protocol.TopicPartition{Topic: d.Topic, Partition: d.Partition}
}

// beMember is the member process: it works until its standard input ends, and then
// leaves. A line there cuts its connection.
func beMember(encoded string) error {
	var plan memberPlan
	if err := json.Unmarshal([]byte(encoded), &plan); err != nil {
		return err
	}
	var mu sync.Mutex
	say := func(d deed) error {
		line, err := json.Marshal(d)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		_, err = os.Stdout.Write(append(line, '\n'))
		return err
	}
	tell := func(what string) func([]protocol.TopicPartition) {
		return func(ps []protocol.TopicPartition) {
			for _, p := range ps {
				now := time.Now()
				_ = say(deed{What: what, Topic: p.Topic, Partition: p.Partition, Began: now, Ended: now}) // a closed pipe ends the process
			}
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go watchStalls(ctx, plan.Session/shareOfSession, func(began, ended time.Time) {
		_ = say(deed{What: didStall, Began: began, Ended: ended}) // a closed pipe ends the process
	})
	log := slog.New(expiries{slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}), func() {
		now := time.Now()
		_ = say(deed{What: didExpire, Began: now.Add(-plan.Session), Ended: now})
	}}).With("member", plan.Name)
	c, err := client.Connect(ctx, client.WithServers(plan.Servers...), client.WithLogger(log))
	if err != nil {
		return err
	}
	defer c.Close()
	var con *client.Consumer
	joined := make(chan struct{})
	handle := func(ctx context.Context, r client.Record) error {
		process := func() error {
			now := time.Now()
			return say(deed{What: "processed", Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Value: string(r.Value), Began: now, Ended: now})
		}
		// Some by hand as well, to know when which commit was taken.
		commit := func() error {
			if r.Offset%10 != 9 {
				return nil
			}
			<-joined
			began := time.Now()
			if err := con.Commit(ctx, r); err != nil {
				return nil // it is tried again with the next ones
			}
			return say(deed{What: "committed", Topic: r.Topic, Partition: r.Partition, Offset: r.Offset + 1, Began: began, Ended: time.Now()})
		}
		if plan.Early {
			return errors.Join(commit(), process())
		}
		return errors.Join(process(), commit())
	}
	joining, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	con, err = c.NewConsumer(joining, "g", plan.Topics, handle, client.WithClientName(plan.Name), client.WithInstance(plan.Instance),
		client.WithSession(plan.Session), client.WithCommitInterval(plan.Commit), client.WithRetries(1<<20, 10*time.Millisecond, 100*time.Millisecond),
		client.OnPartitions(tell("assigned"), tell("revoked")))
	if err != nil {
		return err
	}
	close(joined)
	orders := bufio.NewScanner(os.Stdin) // it ends when the parent says so, or has gone
	for orders.Scan() {
		c.Close() // the only order: cut
	}
	leaving, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return errors.Join(con.Err(), con.Close(leaving))
}

// memberProcess is a member in a process of its own.
type memberProcess struct {
	plan memberPlan
	cmd  *exec.Cmd
	in   io.WriteCloser
	said sync.WaitGroup // until all that it said was heard
}

// processOf is this program in another role, which reads its plan from the
// environment. It is killed when ctx ends.
func processOf(ctx context.Context, t testing.TB, role string, plan any) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := json.Marshal(plan)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), role+"="+string(encoded))
	cmd.Stderr = t.Output()
	return cmd
}

// startMember starts a member whose deeds hear gets, in order, from one goroutine.
func startMember(t testing.TB, plan memberPlan, hear func(member string, d deed)) *memberProcess {
	t.Helper()
	m := &memberProcess{plan: plan, cmd: processOf(context.WithoutCancel(t.Context()), t, memberRole, plan)}
	in, err := m.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	m.in = in
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	m.said.Go(func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			var d deed
			if json.Unmarshal(lines.Bytes(), &d) == nil { // the last line of a killed one may be cut
				hear(plan.Name, d)
			}
		}
	})
	return m
}

// leave lets the member leave in order.
func (m *memberProcess) leave() error {
	if err := m.in.Close(); err != nil {
		return err
	}
	m.said.Wait()
	if err := m.cmd.Wait(); err != nil {
		return fmt.Errorf("member %s: %w", m.plan.Name, err)
	}
	return nil
}

// cut ends the member's connection for good.
func (m *memberProcess) cut() error {
	_, err := io.WriteString(m.in, "cut\n")
	return err
}

// kill ends the process as kill -9 does, and returns when all that it said was
// heard.
func (m *memberProcess) kill() error {
	err := m.cmd.Process.Kill()
	m.said.Wait()
	_ = m.cmd.Wait() // says that it was killed
	return err
}
