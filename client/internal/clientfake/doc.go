// Package clientfake is a broker in memory for the tests of package client: Broker keeps
// the rules that the client relies on, Link leads to it and loses, delays and refuses
// requests by plan, Server puts it behind a real NATS server.
package clientfake
