// Package clienttest runs the public client against real brokers.
package clienttest

import (
	"strconv"
	"testing"
	"time"

	"metaq/client"
	"metaq/test/process"
)

const patience = 60 * time.Second

func TestMain(m *testing.M) { process.Main(m) }

func connect(t testing.TB, url string) *client.Client {
	t.Helper()
	c, err := client.Connect(t.Context(), client.WithServers(url))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// numberOf reads back the number that a test wrote as a value.
func numberOf(t testing.TB, r *client.Record) int {
	t.Helper()
	n, err := strconv.Atoi(string(r.Value))
	if err != nil {
		t.Fatalf("record %d of %s has the value %q", r.Offset, r.Partition, r.Value)
	}
	return n
}
