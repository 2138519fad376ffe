// Package interop publishes to real brokers with the official NATS clients of
// several languages, unmodified, and through a network that loses
// acknowledgements. install.sh fetches the clients; a language whose toolchain is
// missing is said loudly, and fails in CI.
package interop
