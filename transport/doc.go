// Package transport is the NATS edge: clients' sockets (package front), the
// embedded server behind them, the subjects, the bounds on requests in flight, and the way from a subject to a PID and back.
//
// It decides nothing about partitions: it refuses what is malformed, too large
// or too much, finds the partition's actor in the newest actors.Routes, and
// sends the request on with the client's reply inbox as its sender (package
// resolver). Every request that has a reply subject gets exactly one answer.
//
// Goroutines: Gateway.Start makes one, the dispatcher, which handles requests in
// the order in which NATS delivered them; Gateway.Drain joins it. Answers are
// encoded and published on the goroutine of the actor that answers. The NATS
// server and client libraries have their own, which Server.Stop and
// Gateway.Close end. HTTP has one, which HTTP.Stop joins.
//
// The front has three for each client, which Server.Stop ends.
//
// Start at gateway.go, then op_put.go. One wire operation is one op_ file.
package transport
