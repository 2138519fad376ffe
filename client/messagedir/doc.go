// Package messagedir keeps, in files, what must survive the restart of a
// client's process: the records that a consumer could not process
// (client.OnFailure with client.Keep), and the offsets of a broadcast consumer.
// Its directory is the messagedir of metaq.ini:
//
//	c, err := client.Connect(ctx, client.WithMessageDir(messagedir.New("./logs")))
//
// Each consumer has a directory of its own below it, <group>/<instance> or, without
// an instance, <group>, which one process locks. In it are consumer.lock, kept.log
// and offsets.json; docs/format/kept.md has their pictures.
//
// The package stands apart from client, so that a client that keeps nothing does
// not need it. It knows neither brokers nor groups and has no goroutine. Start at
// Dir.OpenConsumer (dir.go), then Store.Keep (store.go); what the bytes of a file
// mean is decided in ledger_core.go.
package messagedir
