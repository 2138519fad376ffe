package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"
	"time"
)

// runLoad makes one short measurement in this process.
func runLoad(t *testing.T, s loadSpec) loadResult {
	t.Helper()
	s.Warmup, s.Duration = 10*time.Millisecond, 50*time.Millisecond
	s.Size, s.Partitions, s.Connections = 128, max(1, s.Partitions), max(1, s.Connections)
	in, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := loadMain(t.Context(), bytes.NewReader(in), &out); err != nil {
		t.Fatalf("%s by %s of %s: %v", s.Kind, s.Client, s.Driver, err)
	}
	events := json.NewDecoder(&out)
	for _, mark := range []string{markBegin, markEnd} {
		var e event
		if err := events.Decode(&e); err != nil || e.Mark != mark {
			t.Fatalf("%s of %s: got %+v, %v, want the mark %s", s.Kind, s.Driver, e, err, mark)
		}
	}
	var e event
	if err := events.Decode(&e); err != nil || e.Result == nil || e.Result.Messages == 0 || e.Result.Rate <= 0 {
		t.Fatalf("%s of %s: got %+v, %v, want a result", s.Kind, s.Driver, e, err)
	}
	return *e.Result
}

// startNATS runs this program's nats-server until the test ends.
func startNATS(t *testing.T, store string) (url string) {
	t.Helper()
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { // the test's context ends before its cleanups run
		ended <- natsdMain(t.Context(), []string{fmt.Sprintf("-port=%d", port), "-metrics=127.0.0.1:0", "-store=" + store})
	}()
	t.Cleanup(func() {
		if err := <-ended; err != nil {
			t.Errorf("nats-server: %v", err)
		}
	})
	address := fmt.Sprintf("127.0.0.1:%d", port)
	for deadline := time.Now().Add(10 * time.Second); accepts(address)(t.Context()) != nil; {
		if time.Now().After(deadline) {
			t.Fatal("nats-server does not serve")
		}
	}
	return "nats://" + address
}

func TestLoadsOfJetStream(t *testing.T) {
	for _, r := range []row{
		{Kind: kindProduce, Client: clientNATS, Window: 100, Connections: 2},
		{Kind: kindProduce, Client: clientNative, Partitions: 3},
		{Kind: kindProduce, Client: clientFast},
		{Kind: kindConsume, Client: clientNative, Backlog: 2000},
		{Kind: kindFlow, Client: clientNative, Rate: 5000},
		{Kind: kindSync, Client: clientNATS},
		{Kind: kindSync, Client: clientNative},
		{Kind: kindStall, Client: clientNative},
	} {
		url := startNATS(t, filepath.Join(t.TempDir(), "js"))
		res := runLoad(t, loadSpec{row: r, Driver: sysJS, URL: url})
		if (r.Kind == kindFlow || r.Kind == kindSync) && (res.P50 <= 0 || res.P99 < res.P50) {
			t.Errorf("%s: latencies %+v", r.Kind, res)
		}
		if r.Kind == kindConsume && res.How == "" {
			t.Error("consume does not say which consumer was the fastest")
		}
	}
}

func TestLoadsOfCoreNATS(t *testing.T) {
	url := startNATS(t, "")
	for _, r := range []row{
		{Kind: kindProduce, Client: clientNATS, Connections: 2},
		{Kind: kindFlow, Client: clientNative, Rate: 5000},
		{Kind: kindSync, Client: clientNATS},
	} {
		runLoad(t, loadSpec{row: r, Driver: sysNATS, URL: url})
	}
}

func TestLoadsOfTheDisk(t *testing.T) {
	for _, kind := range []string{kindProduce, kindSync} {
		runLoad(t, loadSpec{row: row{Kind: kind}, Driver: sysDisk, Dir: t.TempDir()})
	}
}

func TestAMissingMessageIsNoResult(t *testing.T) {
	url := startNATS(t, filepath.Join(t.TempDir(), "js"))
	s := loadSpec{row: row{Kind: kindConsume, Size: 128, Partitions: 1, Connections: 1, Backlog: 10}, Driver: sysJS, URL: url}
	tg, err := newJetStreamTarget(t.Context(), &s)
	if err != nil {
		t.Fatal(err)
	}
	defer tg.close()
	if err := tg.setup(t.Context()); err != nil {
		t.Fatal(err)
	}
	l := &load{spec: &s}
	if err := l.fill(t.Context(), tg); err != nil {
		t.Fatal(err)
	}
	gap := receiver{"with a gap", func(_ context.Context, take func([]byte) bool) error {
		p := newPayloads(128)
		for i := range 10 {
			if b := p.take(time.Time{}); i != 5 && !take(b) {
				break
			}
		}
		return nil
	}}
	if _, err := l.pass(t.Context(), gap); err == nil {
		t.Error("a pass without its sixth message is accepted")
	}
	if err := checkStored(t.Context(), tg, 11); err == nil {
		t.Error("11 acknowledged and 10 stored messages are accepted")
	}
}
