// Command bench measures this broker beside its peers in one run.
//
// It starts each system in turn as a process of its own, on a free loopback port
// and with a fresh data directory, drives it over TCP from a second process (the
// same program for every system), and repeats the whole plan in rounds, so that a
// slow minute of the machine meets all systems alike. It prints medians, and the
// ratios between systems within a round with their smallest and largest, writes
// them as JSON and Markdown, and says what an acknowledgement means in each line.
//
//	bench [flags]   the plan (what `make bench` runs)
//	bench load      one measurement: reads a loadSpec from stdin
//	bench natsd     a nats-server, with or without JetStream
//
// The last two are started by the first. Data is deleted after each measurement;
// children are ended by their process id and never outlive their parent.
//
// Start at plan.go for what is measured, then run.go and load.go.
package main
