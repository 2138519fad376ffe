package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Names of the Kafka systems.
const (
	sysKafka     = "kafka"
	sysKafkaSync = "kafka-fsync"
)

const (
	kafkaBatch = 256 << 10 // bytes; its own default of 16 KiB is slower, and more than 1 MiB does not fit its requests
)

// kafkaSystem is Apache Kafka, one node, driven by its own performance tools: those
// are its best clients. Its rows have the same message size and partitions, and as
// many messages as take the time of a measurement.
type kafkaSystem struct {
	id, says string
	sync     bool
}

func (s *kafkaSystem) name() string  { return s.id }
func (s *kafkaSystem) about() string { return s.says }
func (s *kafkaSystem) ceiling() bool { return false }

const kafkaProperties = `process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:%[2]d
listeners=PLAINTEXT://127.0.0.1:%[1]d,CONTROLLER://127.0.0.1:%[2]d
controller.listener.names=CONTROLLER
log.dirs=%[3]s
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
%[4]s
`

func (s *kafkaSystem) measure(ctx context.Context, r *row, at *place) (*sample, error) {
	libs, err := kafkaJars()
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	control, err := freePort()
	if err != nil {
		return nil, err
	}
	more := ""
	if s.sync {
		more = "log.flush.interval.messages=1"
	}
	conf := filepath.Join(at.dir, "server.properties")
	text := fmt.Sprintf(kafkaProperties, port, control, filepath.ToSlash(filepath.Join(at.dir, "data")), more)
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		return nil, err
	}
	k := &kafkaRun{row: r, at: at, libs: libs, address: fmt.Sprintf("127.0.0.1:%d", port)}
	if _, err := k.java(ctx, "kafka.tools.StorageTool", "format", "-t", "bWV0YXEtYmVuY2gtMDAwMA", "-c", conf); err != nil {
		return nil, err
	}
	server, err := startChild("kafka", "java", []string{javaHeap, "-cp", libs, "kafka.Kafka", conf}, nil, filepath.Join(at.dir, "log"))
	if err != nil {
		return nil, err
	}
	defer server.stop()
	if err := server.waitFor(ctx, time.Minute, accepts(k.address)); err != nil {
		return nil, err
	}
	_, err = k.java(ctx, "org.apache.kafka.tools.TopicCommand", "--bootstrap-server", k.address, "--create",
		"--topic", topic, "--partitions", strconv.Itoa(r.Partitions), "--config", "max.message.bytes=2097152")
	if err != nil {
		return nil, err
	}
	res, err := k.load(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w (last of the server's log: %s)", err, lastWords(server.log))
	}
	rss, err := peakRSS(server.pid())
	res.How = javaRemark
	return &sample{loadResult: *res, Allocs: -1, Garbage: -1, CPU: -1, RSS: float64(rss) / (1 << 20)}, err
}

// kafkaRun is one measurement of Kafka under way.
type kafkaRun struct {
	row     *row
	at      *place
	libs    string
	address string
}

// java runs one of Kafka's tools and returns its output.
func (k *kafkaRun) java(ctx context.Context, class string, args ...string) (string, error) {
	return runJava(ctx, k.at.dir, append([]string{"-cp", k.libs, class}, args...)...)
}

func (k *kafkaRun) load(ctx context.Context) (*loadResult, error) {
	first, err := k.produce(ctx, 200_000) // also lets the server's compiler warm up
	if err != nil {
		return nil, err
	}
	if k.row.Kind == kindProduce {
		return k.produce(ctx, max(200_000, int64(first.Rate*k.at.o.duration.Seconds()*1.5)))
	}
	if k.row.Kind != kindConsume {
		return nil, errNone
	}
	n := int64(k.row.Backlog)
	if !k.at.o.quick {
		n *= 10 // its tool reads once, and at this speed for the time of a measurement
	}
	if _, err := k.produce(ctx, n); err != nil {
		return nil, err
	}
	return k.consume(ctx, n)
}

var kafkaProduced = regexp.MustCompile(`(?m)^(\d+) records sent, ([\d.]+) records/sec .* ([\d.]+) ms 50th, .* ([\d.]+) ms 99th, ([\d.]+) ms 99\.9th`)

func (k *kafkaRun) produce(ctx context.Context, n int64) (*loadResult, error) {
	out, err := k.java(ctx, "org.apache.kafka.tools.ProducerPerformance", "--topic", topic,
		"--num-records", strconv.FormatInt(n, 10), "--record-size", strconv.Itoa(k.row.Size), "--throughput", "-1",
		"--producer-props", "bootstrap.servers="+k.address, "acks=all", "batch.size="+strconv.Itoa(kafkaBatch))
	if err != nil {
		return nil, err
	}
	m := kafkaProduced.FindStringSubmatch(out)
	if m == nil {
		return nil, fmt.Errorf("ProducerPerformance said: %s", strings.Join(strings.Fields(out), " "))
	}
	v, err := numbers(m[1:])
	if err != nil {
		return nil, err
	}
	return &loadResult{Messages: n, Seconds: v[0] / v[1], Rate: v[1], P50: v[2], P99: v[3], P999: v[4], How: "ProducerPerformance, batch.size 256 KiB"}, nil
}

// The line has the start and the end, megabytes, MB/s, messages, messages/s, and
// then the time of joining the group and that of fetching with its rates.
var kafkaConsumed = regexp.MustCompile(`(?m)^\d{4}-.*?, \d{4}-.*?, [\d.]+, [\d.]+, (\d+), [\d.]+, -?\d+, (\d+), [\d.]+, ([\d.]+)\s*$`)

func (k *kafkaRun) consume(ctx context.Context, n int64) (*loadResult, error) {
	out, err := k.java(ctx, "org.apache.kafka.tools.ConsumerPerformance", "--bootstrap-server", k.address,
		"--topic", topic, "--messages", strconv.FormatInt(n, 10))
	if err != nil {
		return nil, err
	}
	m := kafkaConsumed.FindStringSubmatch(out)
	if m == nil {
		return nil, fmt.Errorf("ConsumerPerformance said: %s", strings.Join(strings.Fields(out), " "))
	}
	v, err := numbers(m[1:])
	if err != nil {
		return nil, err
	}
	return &loadResult{Messages: int64(v[0]), Seconds: v[1] / 1000, Rate: v[2], How: "ConsumerPerformance, without the time of joining"}, nil
}

func numbers(texts []string) ([]float64, error) {
	var all []float64
	var errs []error
	for _, t := range texts {
		v, err := strconv.ParseFloat(t, 64)
		all, errs = append(all, v), append(errs, err)
	}
	return all, errors.Join(errs...)
}
