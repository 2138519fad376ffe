package main

import (
	"strings"
	"testing"
)

func TestCostsAreReadFromMetrics(t *testing.T) {
	const text = "# HELP go_memstats_mallocs_total x\ngo_memstats_mallocs_total 1.25e+06\ngo_memstats_frees_total 7\ngo_memstats_alloc_bytes_total 4096\n"
	var c costs
	if err := c.parse(strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	if c.mallocs != 1.25e6 || c.bytes != 4096 {
		t.Errorf("got %+v", c)
	}
	if err := new(costs).parse(strings.NewReader("other 1\n")); err == nil {
		t.Error("metrics without memory statistics are accepted")
	}
}

func TestChargeDividesByMessages(t *testing.T) {
	s := sample{loadResult: loadResult{Messages: 10}, Allocs: -1}
	s.charge(costs{mallocs: 5, bytes: 100, cpu: 20_000, rss: 3 << 20})
	if s.Allocs != 0.5 || s.Garbage != 10 || s.CPU != 2 || s.RSS != 3 {
		t.Errorf("got %+v", s)
	}
}

func TestThePeersLastResultCounts(t *testing.T) {
	got, err := javaResult("log4j:WARN no appenders\nresult 10 1.5\nresult 28200 3.0E0\n")
	if err != nil || got.Messages != 28200 || got.Rate != 9400 {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, text := range []string{"", "Exception\n", "result 5 0\n"} {
		if _, err := javaResult(text); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
}

func TestKafkaToolsAreUnderstood(t *testing.T) {
	produced := kafkaProduced.FindStringSubmatch("106435 records sent, 20828.8 records/sec (2.54 MB/sec), 15121.1 ms avg latency, 16086.0 ms max latency.\n" +
		"300000 records sent, 10552.2 records/sec (1.29 MB/sec), 13405.04 ms avg latency, 16086.00 ms max latency, 14099 ms 50th, 15870 ms 95th, 16029 ms 99th, 16085 ms 99.9th.\n")
	if got := strings.Join(produced, " ")[len(produced[0]):]; got != " 300000 10552.2 14099 16029 16085" {
		t.Errorf("the producer's numbers are %q", got)
	}
	consumed := kafkaConsumed.FindStringSubmatch("start.time, end.time, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, rebalance.time.ms, fetch.time.ms, fetch.MB.sec, fetch.nMsg.sec\n" +
		"2026-11-22 22:01:01:742, 2026-11-22 22:01:11:035, 36.6211, 3.9407, 300000, 32282.3631, 5186, 4107, 8.9168, 73046.0190\n")
	if got := strings.Join(consumed, " ")[len(consumed[0]):]; got != " 300000 4107 73046.0190" {
		t.Errorf("the consumer's numbers are %q", got)
	}
}
