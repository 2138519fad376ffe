package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Names of the peers in Java that a program of ours serves and drives.
const (
	sysRocket        = "rocketmq"
	sysRocketSync    = "rocketmq-fsync"
	sysMetaqJava     = "metaq-java"
	sysMetaqJavaSync = "metaq-java-fsync"
)

// javaBacklog is the most messages of a backlog: these peers read it once, and take
// long to store it.
const javaBacklog = 100_000

// javaSystem is a peer whose server runs in one virtual machine, with what it needs
// beside it, and whose client in another one.
type javaSystem struct {
	id, says string
	how      string // of the client
	jars     func() (string, error)
	// configure writes the server's files into dir and returns the arguments of
	// "serve" and the address for the client.
	configure func(dir string) (args []string, address string, err error)
}

func rocketSystem(id, says, flush string) *javaSystem {
	return &javaSystem{
		id: id, says: says, jars: rocketJars, how: "batches of 256 KiB, 4 in flight; pull consumer, 32 messages an answer (the broker's default)",
		configure: func(dir string) ([]string, string, error) {
			ports, err := freePorts(3)
			if err != nil {
				return nil, "", err
			}
			address := fmt.Sprintf("127.0.0.1:%d", ports[0])
			store := filepath.ToSlash(filepath.Join(dir, "data"))
			names, broker := filepath.Join(dir, "namesrv.conf"), filepath.Join(dir, "broker.conf")
			if err := os.WriteFile(names, fmt.Appendf(nil, "listenPort=%d\n", ports[0]), 0o644); err != nil {
				return nil, "", err
			}
			err = os.WriteFile(broker, fmt.Appendf(nil, rocketBroker, address, ports[1], ports[2], store, store, flush), 0o644)
			return []string{names, broker}, address, err
		},
	}
}

const rocketBroker = `brokerClusterName=bench
brokerName=bench
brokerId=0
brokerIP1=127.0.0.1
namesrvAddr=%s
listenPort=%d
haListenPort=%d
storePathRootDir=%s
storePathCommitLog=%s/commitlog
flushDiskType=%s
defaultTopicQueueNums=1
`

func metaqJavaSystem(id, says string, unflush int) *javaSystem {
	return &javaSystem{
		id: id, says: says, jars: metaqJavaLib, how: "single messages, window 1,000: its producer has no batches",
		configure: func(dir string) ([]string, string, error) {
			ports, err := freePorts(3)
			if err != nil {
				return nil, "", err
			}
			address := fmt.Sprintf("127.0.0.1:%d", ports[0])
			conf := filepath.Join(dir, "conf", "server.ini") // it wants a folder above the folder
			if err := os.MkdirAll(filepath.Dir(conf), 0o755); err != nil {
				return nil, "", err
			}
			data := filepath.ToSlash(filepath.Join(dir, "data"))
			text := fmt.Sprintf(metaqServer, ports[1], ports[2], data, data, unflush, address)
			return []string{strconv.Itoa(ports[0]), filepath.Join(dir, "zookeeper"), conf}, address, os.WriteFile(conf, []byte(text), 0o644)
		},
	}
}

const metaqServer = `[system]
brokerId=0
hostName=127.0.0.1
numPartitions=1
serverPort=%d
dashboardHttpPort=%d
dataPath=%s
dataLogPath=%s
unflushThreshold=%d
unflushInterval=10000
maxSegmentSize=1073741824
maxTransferSize=1048576
deletePolicy=delete,168
deleteWhen=0 0 6,18 * * ?
[zookeeper]
zk.zkConnect=%s
[topic=bench]
`

func freePorts(n int) ([]int, error) {
	ports := make([]int, n)
	for i := range ports {
		var err error
		if ports[i], err = freePort(); err != nil {
			return nil, err
		}
	}
	return ports, nil
}

func (s *javaSystem) name() string  { return s.id }
func (s *javaSystem) about() string { return s.says }
func (s *javaSystem) ceiling() bool { return false }

func (s *javaSystem) measure(ctx context.Context, r *row, at *place) (*sample, error) {
	classPath, err := s.jars()
	if err != nil {
		return nil, err
	}
	args, address, err := s.configure(at.dir)
	if err != nil {
		return nil, err
	}
	args = append([]string{javaHeap, "-Duser.home=" + at.dir, "-Drocketmq.home.dir=" + at.dir, "-cp", classPath, "Peer", "serve"}, args...)
	server, err := startChild(s.id, "java", args, nil, filepath.Join(at.dir, "log"))
	if err != nil {
		return nil, err
	}
	defer server.stop()
	if err := server.waitFor(ctx, time.Minute, accepts(address)); err != nil {
		return nil, err
	}
	peer := func(args ...string) (*loadResult, error) {
		out, err := runJava(ctx, at.dir, append([]string{"-cp", classPath, "Peer"}, args...)...)
		if err != nil {
			return nil, fmt.Errorf("%w (last of the server's log: %s)", err, lastWords(server.log))
		}
		return javaResult(out)
	}
	var res *loadResult
	switch r.Kind {
	case kindProduce:
		res, err = peer("produce", address, strconv.Itoa(r.Size), strconv.FormatFloat(at.o.duration.Seconds(), 'f', -1, 64))
	case kindConsume:
		n := strconv.Itoa(min(r.Backlog, javaBacklog))
		if _, err = peer("fill", address, strconv.Itoa(r.Size), n); err == nil {
			res, err = peer("consume", address, n)
		}
	default:
		return nil, errNone
	}
	if err != nil {
		return nil, err
	}
	rss, err := peakRSS(server.pid())
	res.How = s.how + "; " + javaRemark
	return &sample{loadResult: *res, Allocs: -1, Garbage: -1, CPU: -1, RSS: float64(rss) / (1 << 20)}, err
}

// javaResult finds the last line that Peer.java prints: "result MESSAGES SECONDS".
func javaResult(out string) (*loadResult, error) {
	res := &loadResult{}
	for lines := bufio.NewScanner(strings.NewReader(out)); lines.Scan(); {
		var n int64
		var seconds float64
		if got, _ := fmt.Sscanf(lines.Text(), "result %d %g", &n, &seconds); got == 2 && seconds > 0 {
			res.Messages, res.Seconds, res.Rate = n, seconds, float64(n)/seconds
		}
	}
	if res.Messages == 0 {
		return nil, fmt.Errorf("the client measured nothing: %s", lastOf(out))
	}
	return res, nil
}
