package main

import (
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rogpeppe/go-internal/testscript"
)

// cmdSend makes a request as a program would that has nothing but the official
// NATS client.
func cmdSend(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: send URL SUBJECT [TEXT]")
	}
	nc, err := nats.Connect(args[0])
	ts.Check(err)
	defer nc.Close()
	args = append(args, "")
	answer, err := nc.Request(args[1], []byte(args[2]), 5*time.Second)
	if neg {
		if err == nil {
			ts.Fatalf("%s was answered: %s", args[1], answer.Data)
		}
		return
	}
	ts.Check(err)
	_, err = ts.Stdout().Write(append(answer.Data, '\n'))
	ts.Check(err)
}
