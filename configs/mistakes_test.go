package configs

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// good is a file without mistakes; its lines 1 to 3.
const good = "[system]\nbrokerId=0\nnumPartitions=1\n"

func TestEveryMistakeIsNamedWithItsLine(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"empty file":                {"", "server.ini:1: brokerId is missing in [system]; set it, 0 to 1023\nserver.ini:1: numPartitions is missing in [system]; set it, 1 to 10000"},
		"required keys missing":     {"\n[system]\n", "server.ini:2: brokerId is missing in [system]; set it, 0 to 1023\nserver.ini:2: numPartitions is missing in [system]; set it, 1 to 10000"},
		"required key blank":        {"[system]\nbrokerId=  ; mine\nnumPartitions=1\n", "server.ini:1: brokerId is missing in [system]; set it, 0 to 1023"},
		"unknown key":               {good + "maxSegmentsize=1GiB", "server.ini:4: unknown key maxSegmentsize in [system]; did you mean maxSegmentSize?"},
		"unknown zookeeper key":     {good + "[zookeeper]\nzk.zkEnable=false\nzkConnect=a", "server.ini:6: unknown key zkConnect in [zookeeper]; did you mean zk.zkConnect?"},
		"unknown topic key":         {good + "[topic=t]\nnumPartition=1", "server.ini:5: unknown key numPartition in [topic=t]; did you mean numPartitions?"},
		"unknown nats key":          {good + "[nats]\nports=1", "server.ini:5: unknown key ports in [nats]; did you mean port?"},
		"unknown metrics key":       {good + "[metrics]\nlisten_=1", "server.ini:5: unknown key listen_ in [metrics]; did you mean listen?"},
		"key of another section":    {good + "zk.zkConnect=a", "server.ini:4: unknown key zk.zkConnect in [system]; it belongs in [zookeeper]"},
		"broker's key in a topic":   {good + "[topic=t]\nbrokerId=1", "server.ini:5: unknown key brokerId in [topic=t]; it belongs in [system]"},
		"key before a section":      {"brokerId=0\n" + good, "server.ini:1: brokerId stands before the first section; put [system] above it"},
		"unknown section":           {good + "[zookeper]\na=b", "server.ini:4: unknown section [zookeper]; did you mean [zookeeper]?"},
		"section name without kind": {good + "[topics]", "server.ini:4: unknown section [topics]; did you mean [topic=NAME]?"},
		"key twice":                 {good + "brokerId=1", "server.ini:4: brokerId is set twice, first on line 2; remove one"},
		"topic twice":               {good + "[topic=t]\n[topic=t]", "server.ini:5: section [topic=t] stands twice, first on line 4; join them"},
		"section twice":             {good + "[system]\nstat=true", "server.ini:4: section [system] stands twice, first on line 1; join them"},

		"topic without a name":  {good + "[topic=]", "server.ini:4: topic name is empty; use 1-128 of A-Z a-z 0-9 _ -"},
		"topic with a dot":      {good + "[topic=a.b]", `server.ini:4: topic name "a.b" is not allowed; use 1-128 of A-Z a-z 0-9 _ -`},
		"topic name too long":   {good + "[topic=" + strings.Repeat("x", 129) + "]", "server.ini:4: topic name has 129 characters; use 1-128 of A-Z a-z 0-9 _ -"},
		"topic pattern":         {good + "[topic=log-*]", "server.ini:4: [topic=log-*] is a pattern, which is not supported; name each topic, or set autoCreateTopics=true"},
		"filter of a bad group": {good + "[topic=t]\ngroup.a.b=X", `server.ini:5: group name "a.b" is not allowed; use 1-128 of A-Z a-z 0-9 _ -`},

		"broker id too large":      {"[system]\nbrokerId=1024\nnumPartitions=1", "server.ini:2: brokerId=1024 is out of range; use 0 to 1023"},
		"broker id negative":       {"[system]\nbrokerId=-1\nnumPartitions=1", "server.ini:2: brokerId=-1 is out of range; use 0 to 1023"},
		"no partitions":            {"[system]\nbrokerId=1\nnumPartitions=2-2", "server.ini:3: numPartitions=2-2 is out of range; use 1 to 10000"},
		"segment too small":        {good + "maxSegmentSize=4095", "server.ini:4: maxSegmentSize=4095 is out of range; use 4KiB to 2047MiB"},
		"journal sync policy":      {good + "flushTxLogAtCommit=3", "server.ini:4: flushTxLogAtCommit=3 is out of range; use 0 to 2"},
		"interval too long":        {good + "unflushInterval=25h", "server.ini:4: unflushInterval=25h is out of range; use 1ms to 24h"},
		"open end":                 {good + "retentionBytes=-1", "server.ini:4: retentionBytes=-1 is too small; use 0 or more"},
		"topic's value":            {good + "[topic=t]\nnumPartitions=0", "server.ini:5: numPartitions=0 is out of range; use 1 to 10000"},
		"inherited once":           {good + "maxSegmentAge=-1\n[topic=a]\n[topic=b]", "server.ini:4: maxSegmentAge=-1 is out of range; use 0s to 876000h"},
		"port out of range":        {good + "[nats]\nport=65536", "server.ini:5: port=65536 is out of range; use 0 to 65535"},
		"number that is none":      {good + "serverPort=http", `server.ini:4: serverPort: unexpected "http" in the number; write a whole number such as 16 or 4*4`},
		"overflow":                 {good + "retentionBytes=1TiB*1TiB", "server.ini:4: retentionBytes: the number is beyond 64 bits; use a smaller one"},
		"size that is none":        {good + "maxSegmentSize=1G", `server.ini:4: maxSegmentSize: unexpected "G" in the number; write bytes (1048576, 1024*1024) or a size (512KiB, 1GiB, 64MB)`},
		"truth value that is none": {good + "stat=yes", `server.ini:4: stat: "yes" is not a truth value; write true or false`},
		"time that is none":        {good + "unflushInterval=soon", `server.ini:4: unflushInterval: "soon" is not a time; write a number of ms, or a duration such as 10s or 1h30m`},
		"policy that is none":      {good + "deletePolicy=168", "server.ini:4: deletePolicy: write delete,AGE or archive,AGE or archive,AGE,true, such as delete,168 (hours)"},
		"cron that is none":        {good + "[topic=t]\ndeleteWhen=daily", "server.ini:5: deleteWhen: not a Quartz cron (invalid expression length); write six fields: second minute hour day month weekday, such as 0 0 6,18 * * ?"},
		"quoted value":             {good + `dataPath="./x"`, `server.ini:4: dataPath: "\"./x\"" is quoted; write the value without quotes`},
		"control character":        {good + "dataPath=a\x00b", `server.ini:4: dataPath: "a\x00b" holds a control character; remove it`},
		"not UTF-8":                {good + "dataPath=\xcf\xfb", `server.ini:4: dataPath: "\xcf\xfb" is not UTF-8; save the file as UTF-8`},
		"backslash in a path":      {good + `dataPath=C:\meta`, `server.ini:4: dataPath: a backslash must stand before \ ; # = : or uXXXX; in a path write / or \\`},

		"host with a scheme":       {good + "hostName=http://x", `server.ini:4: hostName: "http://x" is not a host; write a name or an address without scheme and port`},
		"host with a port":         {good + "[nats]\nhost=x:1", `server.ini:5: host: "x:1" is not a host; write a name or an address without scheme and port`},
		"no ZooKeeper servers":     {good + "[zookeeper]\n", "server.ini:4: zk.zkConnect is missing in [zookeeper]; list the servers, or set zk.zkEnable=false to run alone"},
		"ZooKeeper chroot, a hole": {good + "[zookeeper]\nzk.zkConnect=a:2181/x//y", `server.ini:5: zk.zkConnect: "x//y" is not a node; write a path such as /meta`},
		"ZooKeeper chroot, early":  {good + "[zookeeper]\nzk.zkConnect=a:2181/x,b:2181", `server.ini:5: zk.zkConnect: "a:2181/x,b:2181": the path stands once, after the last server; write host:port,host:port/path`},
		"ZooKeeper only chroot":    {good + "[zookeeper]\nzk.zkConnect=/x", `server.ini:5: zk.zkConnect: "" is not a ZooKeeper server; write host:port,host:port`},
		"ZooKeeper user alone":     {good + "[zookeeper]\nzk.zkConnect=a\nzk.zkAuth=secret", "server.ini:6: zk.zkAuth: not user:password, which is what ZooKeeper's digest scheme wants"},
		"ZooKeeper auth, quoted":   {good + "[zookeeper]\nzk.zkConnect=a\nzk.zkAuth=\"u:secret\"", "server.ini:6: zk.zkAuth: holds a character that cannot stand here"},
		"ZooKeeper auth twice":     {good + "[zookeeper]\nzk.zkConnect=a\nzk.zkAuth=u:p\nzk.zkAuthFile=/f", "server.ini:7: zk.zkAuthFile and zk.zkAuth are both set; remove one"},
		"ZooKeeper read by all":    {good + "[zookeeper]\nzk.zkConnect=a\nzk.zkWorldRead=true", "server.ini:6: zk.zkWorldRead has no effect without zk.zkAuth or zk.zkAuthFile; set one, or remove it"},
		"ZooKeeper half a pair":    {good + "[zookeeper]\nzk.zkConnect=a\nzk.zkTls=true\nzk.zkTlsCert=/c", "server.ini:7: zk.zkTlsCert needs zk.zkTlsKey; set both or neither"},
		"ZooKeeper CA, no TLS":     {good + "[zookeeper]\nzk.zkConnect=a\nzk.zkTlsCa=/c", "server.ini:6: zk.zkTlsCa has no effect without zk.zkTls=true; set that, or remove it"},
		"ZooKeeper port":           {good + "[zookeeper]\nzk.zkConnect=a:0", `server.ini:5: zk.zkConnect: "a:0" is not a ZooKeeper server; write host:port,host:port`},
		"ZooKeeper server twice":   {good + "[zookeeper]\nzk.zkConnect=a:2181,a", "server.ini:5: zk.zkConnect: a:2181 is listed twice; remove one"},
		"ZooKeeper list with hole": {good + "[zookeeper]\nzk.zkConnect=a:2181,,b", `server.ini:5: zk.zkConnect: "" is not a ZooKeeper server; write host:port,host:port`},
		"ZooKeeper root":           {good + "[zookeeper]\nzk.zkConnect=a\nzk.zkRoot=/a//b", `server.ini:6: zk.zkRoot: "/a//b" is not a node; write a path such as /meta`},
		"NATS address":             {good + "[nats]\nurl=http://x:1", `server.ini:5: url: "http://x:1" is not a NATS address; write nats://host:port`},
		"subject prefix":           {good + "[nats]\nprefix=a.*", `server.ini:5: prefix: "a.*" is not a subject prefix; use A-Z a-z 0-9 _ - with dots between, such as metaq`},
		"metrics address":          {good + "[metrics]\nlisten=9090", `server.ini:5: listen: "9090" is not host:port; write for example 127.0.0.1:9090`},

		"transfer above payload":    {good + "maxTransferSize=16MiB", "server.ini:4: maxTransferSize=16MiB does not fit into [nats] maxPayload; the most that fits is 8128KiB"},
		"payload below transfer":    {good + "[nats]\nmaxPayload=128KiB", "server.ini:5: maxTransferSize=1MiB does not fit into [nats] maxPayload; the most that fits is 64KiB\nserver.ini:5: maxMessageSize=1MiB does not fit into [nats] maxPayload; the most that fits is 64KiB"},
		"topic's message too large": {good + "[topic=t]\nmaxMessageSize=9MiB", "server.ini:5: maxMessageSize=9MiB does not fit into [nats] maxPayload; the most that fits is 8128KiB"},
		"message above admission":   {good + "maxPartitionInflightBytes=512KiB", "server.ini:4: maxMessageSize=1MiB does not fit into [system] maxPartitionInflightBytes; the most that fits is 512KiB"},
		"memory below admission":    {good + "memoryLimit=64MiB", "server.ini:4: memoryLimit=64MiB leaves no room beside maxInflightBytes=256MiB; raise it or lower maxInflightBytes"},
		"one port for two":          {good + "[nats]\nport=5000\nclusterPort=5000", "server.ini:6: port and clusterPort are both 5000; give each its own"},
	} {
		t.Run(name, func(t *testing.T) {
			got := mistakesOf(t, LoadOptions{Path: write(t, c.text)})
			if diff := cmp.Diff(strings.Split(c.want, "\n"), got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAllMistakesAreReportedAtOnceInOrder(t *testing.T) {
	path := write(t, `[system]
brokerid=0
maxSegmentSize=1G
stat=yes
[zokeeper]
[topic=a.b]
numPartitions=0
junk
`)
	got := mistakesOf(t, LoadOptions{
		Path:  path,
		Env:   []string{"METAQ_NATS_PORT=x", "METAQ_BROKERID=1", "PATH=/bin"},
		Flags: map[string]string{"nats-prot": "1", "broker-id": "2000"},
	})
	want := []string{
		"server.ini:1: numPartitions is missing in [system]; set it, 1 to 10000",
		"server.ini:2: unknown key brokerid in [system]; did you mean brokerId?",
		`server.ini:3: maxSegmentSize: unexpected "G" in the number; write bytes (1048576, 1024*1024) or a size (512KiB, 1GiB, 64MB)`,
		`server.ini:4: stat: "yes" is not a truth value; write true or false`,
		"server.ini:5: unknown section [zokeeper]; did you mean [zookeeper]?",
		`server.ini:6: topic name "a.b" is not allowed; use 1-128 of A-Z a-z 0-9 _ -`,
		"server.ini:7: numPartitions=0 is out of range; use 1 to 10000",
		`server.ini:8: "junk" is neither key=value nor [section] nor a ; comment`,
		`METAQ_NATS_PORT: port: unexpected "x" in the number; write a whole number such as 16 or 4*4`,
		"--nats-prot: unknown flag; did you mean --nats-port?",
		"--broker-id: brokerId=2000 is out of range; use 0 to 1023",
		"METAQ_BROKERID: unknown variable, ignored; did you mean METAQ_BROKER_ID?",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestValidateChecksAChangedServer(t *testing.T) {
	s := load(t, LoadOptions{})
	s.System.BrokerID = 5000
	s.NATS.ClusterPort = s.NATS.Port
	s.Topics = []Topic{s.Topic("a"), s.Topic("a"), s.Topic("b.c")}
	s.Topics[0].NumPartitions = 0
	want := []string{
		"topic a is listed twice; remove one",
		`topic name "b.c" is not allowed; use 1-128 of A-Z a-z 0-9 _ -`,
		"brokerId=5000 is out of range; use 0 to 1023",
		"numPartitions=0 is out of range; use 1 to 10000",
		"port and clusterPort are both 4222; give each its own",
	}
	if diff := cmp.Diff(want, strings.Split(fmt.Sprint(s.Validate()), "\n")); diff != "" {
		t.Error(diff)
	}
}
