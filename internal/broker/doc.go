// Package broker assembles a broker: it reads the configuration into the options
// of the parts, plugs the parts into the interfaces that the actors declare, and
// starts and stops all of it in order. It is the only package that knows them
// all, and it decides nothing else.
//
//	configs      -> settings.go, topics and limits
//	persistence  -> logs.go      -> actors.LogStore, actors.Log
//	cluster      -> registry.go  -> actors.Registry
//	transport    -> broker.go    -> actors.Gateway
//
// rebuild.go rebuilds a lost local registry from the data directories, which package
// persistence/store owns.
//
// The package starts no goroutine of its own.
//
// Start at Run in broker.go.
package broker
