package groups

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"metaq/client"
	"metaq/client/messagedir"
)

// keeperRole is the environment variable that makes the test binary a consumer
// which keeps what it cannot process. It holds a keeperPlan as JSON.
const keeperRole = "METAQ_TEST_KEEPER"

type keeperPlan struct{ Server, Dir string }

// isHard says which records the process cannot process.
func isHard(value string) bool { return strings.HasSuffix(value, "7") }

// keeperOptions are those of the process and of who comes after it. Under one
// instance the next one need not wait for the session of a dead one.
func keeperOptions() []client.ConsumerOption {
	return keeping(client.WithInstance("k"), client.WithKeptInterval(20*time.Millisecond))
}

// beKeeper is the process. It says each value that it has processed before the
// handler returns, and works until it is killed.
func beKeeper(encoded string) error {
	var plan keeperPlan
	if err := json.Unmarshal([]byte(encoded), &plan); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := client.Connect(ctx, client.WithServers(plan.Server), client.WithMessageDir(messagedir.New(plan.Dir)))
	if err != nil {
		return err
	}
	defer c.Close()
	con, err := c.NewConsumer(ctx, "g", []string{"orders"}, func(_ context.Context, r client.Record) error {
		if isHard(string(r.Value)) {
			return errors.New("too hard")
		}
		_, err := fmt.Fprintln(os.Stdout, string(r.Value))
		return err
	}, keeperOptions()...)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin) // it ends when the parent has gone
	return errors.Join(err, con.Err())
}

// runKeeper runs the process until it has said enough values, kills it as kill -9
// does, and returns all that it said.
func runKeeper(t *testing.T, plan keeperPlan, enough int) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := processOf(ctx, t, keeperRole, plan)
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said []string
	lines := bufio.NewScanner(out)
	for lines.Scan() { // also what it said before it was dead
		if said = append(said, lines.Text()); len(said) == enough {
			if err := cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil || len(said) < enough {
		t.Fatalf("the process ended by itself after %d values: %v", len(said), err)
	}
	return said
}

// TestWhatIsKeptOutlivesKill kills a consumer again and again while it keeps records.
// Each record is processed by it, or by the one who can.
func TestWhatIsKeptOutlivesKill(t *testing.T) {
	w := newWorld(t)
	plan := keeperPlan{w.url, t.TempDir()}
	c := connectWith(t, w.url, messagedir.New(plan.Dir))
	const rounds, each = 5, 200
	var mu sync.Mutex
	seen := map[string]bool{}
	for i := range rounds {
		produce(t, c, i*each, each)
		for _, v := range runKeeper(t, plan, each/2+13*i) {
			if isHard(v) {
				t.Fatalf("the process has processed %s", v)
			}
			seen[v] = true
		}
	}
	late := map[string]bool{}
	consume(t, c, func(_ context.Context, r client.Record) error {
		mu.Lock()
		defer mu.Unlock()
		seen[string(r.Value)], late[string(r.Value)] = true, true
		return nil
	}, keeperOptions()...)
	await(t, "all records", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(seen) == rounds*each && lag(t, c) == 0
	})
	s, err := c.Admin().GroupOffsets(t.Context(), "g")
	if err != nil {
		t.Fatal(err)
	}
	var committed client.Offset
	for _, p := range s {
		committed += p.Offset
	}
	mu.Lock()
	defer mu.Unlock()
	hard := 0
	for v := range late {
		if isHard(v) {
			hard++
		}
	}
	if committed != rounds*each || hard != rounds*each/10 || slices.Contains([]int{0, rounds * each}, len(late)-hard) {
		t.Errorf("%d committed, %d hard and %d other ones came late", committed, hard, len(late)-hard)
	}
}
