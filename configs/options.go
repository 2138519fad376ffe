package configs

import "time"

// The tags of an option:
//
//	ini       the key in the file
//	default   the value when nothing sets it; "ref:KEY" takes another key's value,
//	          "ref:KEY+N" adds N to it
//	nofile    the default when the broker runs without a file, where it differs
//	required  "file": with a file, something must set it
//	min, max  inclusive bounds, written as a user would write the value
//	unit      bytes, ms, s or hours: what a bare number counts
//	check     the entry of checks that judges the text
//	env,flag  override names that do not follow the rule (see names.go)
//	secret    "true": the value is shown as xxxxx
//	keys      of an embedded struct: what comes before each of its keys
//	inert     why the key has no effect here; reported by Notices when it is set
//
// The comment of a field is its text in docs/configuration.md.

// System is section [system]: the broker, and the values that its topics inherit.
type System struct {
	// Identity of the broker in its cluster. Each broker needs its own; two brokers with the same
	// one cannot run at the same time.
	BrokerID int `ini:"brokerId" default:"0" required:"file" min:"0" max:"1023"`
	// Host name or address under which clients and other brokers reach this broker. Blank: the
	// machine's first non-loopback IPv4 address, else IPv6, else 127.0.0.1. A name that does not
	// resolve elsewhere hides the broker from other machines.
	HostName string `ini:"hostName" check:"host"`
	// Create a topic when it is first used, with the values of this section. `true` is handy on a
	// laptop, but a misspelt name becomes a topic; with `false` topics come from this file and
	// from `metaq topic create` only.
	AutoCreateTopics bool `ini:"autoCreateTopics" default:"false" nofile:"true"`
	// Maximum number of topics for auto-creation. At the limit, a put to an unknown topic gets 404, so
	// that publishers cannot fill the disk with topics. Topics of any origin count. Small values need
	// `metaq topic create` earlier; each topic costs a directory and a little memory per partition.
	AutoCreateLimit int `ini:"autoCreateLimit" default:"1000" min:"1" max:"1000000"`
	// Topics a minute that one address may create by first uses; the next gets 429 until the minute
	// fills up again. Requests through an existing NATS deployment count as those of one address.
	// Small values slow down a program that begins with many topics; large ones let one client use
	// up `autoCreateLimit`.
	AutoCreateRate int `ini:"autoCreateRate" default:"100" min:"1" max:"1000000"`
	// Filters that one topic may have in `subjects` when it is created or changed by a request;
	// one more is refused with 400. This file may name more.
	MaxTopicSubjects int `ini:"maxTopicSubjects" default:"64" min:"1" max:"10000"`
	// Filters that all topics may have together; a request for more is refused with 429.
	MaxSubjects int `ini:"maxSubjects" default:"4096" min:"1" max:"1000000"`
	// Largest answer to one get. Small values mean more round trips; large ones more memory for
	// each reader. It must fit into `[nats] maxPayload`.
	MaxTransferSize int64 `ini:"maxTransferSize" default:"1MiB" min:"4KiB" max:"32MiB" unit:"bytes"`
	// What a consumer group gets when its offset is outside the partition's messages: `true` moves
	// it to the current end, which skips messages; `false` stops it with an error. A consumer that
	// chooses for itself is not asked. Keep `false` in production.
	UpdateConsumerOffsets bool `ini:"updateConsumerOffsets" default:"false"`
	// Partitions of this broker from which on no topic is created and none grows: such a request
	// gets 429. Topics of this file and of other brokers open in any case. Each partition takes a
	// directory and some memory.
	MaxPartitions int `ini:"maxPartitions" default:"10000" min:"1" max:"1000000"`
	// Message ids that all partitions of this broker remember together, about 80 bytes each; a message
	// with one more gets 429 and is not stored. It has to hold the ids of a `duplicateWindow`.
	MaxBrokerMessageIDs int `ini:"maxBrokerMessageIds" default:"2000000" min:"1000" max:"1000000000"`
	// Native producers that a partition remembers, so that a batch which comes again is stored once.
	// With as many in use within 150 s a new one gets 429, unless a connection has many of them. Each
	// takes some 300 bytes.
	MaxProducers int `ini:"maxProducers" default:"10000" min:"100" max:"10000000"`
	// Consumer groups that this broker coordinates; the join or reset that would make one more gets
	// 429. A group without members and offsets is forgotten after an hour, any other is kept. Each
	// takes some 15 KB of memory while it is in use.
	MaxGroups int `ini:"maxGroups" default:"10000" min:"1" max:"1000000"`
	// Bytes that the names and topics of one consumer group's members may have together, 64 for
	// each member included; a join beyond is refused with 413. Small values limit members that
	// subscribe to many topics; each group may take that much memory and as much of the groups' log.
	MaxGroupState int64 `ini:"maxGroupState" default:"1MiB" min:"4KiB" max:"16MiB" unit:"bytes"`

	// Bytes of the disk that messages leave free: below it puts are refused as on a full disk, so
	// that offsets of consumer groups, topics and a restart still find room. Small values risk
	// that those fail too; large ones refuse messages early. 0 leaves nothing.
	DiskReserve int64 `ini:"diskReserve" default:"16MiB" min:"0" max:"1TiB" unit:"bytes"`

	// Bytes of memory that the process tries to keep to: heap, stacks and the runtime's own, without
	// the code and the system's file cache. Near it the garbage collector works as hard as half the
	// processors allow, so a small value costs processor time; what is really in use is never
	// refused because of it: that is the job of `maxInflightBytes`, which it must exceed. 0: no limit.
	MemoryLimit int64 `ini:"memoryLimit" default:"0" min:"0" max:"1024TiB" unit:"bytes"`
	// Bytes of requests that the whole broker holds before it answers 429, back off. Small values
	// refuse bursts early; large ones need that much memory.
	MaxInflightBytes int64 `ini:"maxInflightBytes" default:"256MiB" min:"64KiB" max:"1TiB" unit:"bytes"`
	// Bytes of answers and messages that may wait for all clients together; beyond it the client for
	// which most waits is cut off, and one client may have a quarter. With `memoryLimit` it is at
	// most a quarter of that. Small values cut slow readers off sooner; large ones need that much
	// memory.
	MaxOutboundBytes int64 `ini:"maxOutboundBytes" default:"256MiB" min:"16MiB" max:"1TiB" unit:"bytes"`
	// Files of partitions' logs that are open at a time; beyond it those that were not used for longest
	// are closed, and opened again at their next use. `0`: what clients and a reserve of 32 leave of
	// the process's descriptors, which it never exceeds. Small values cost busy partitions time when
	// there are many.
	MaxOpenLogFiles int `ini:"maxOpenLogFiles" default:"0" min:"0" max:"10000000"`
	// Requests that the whole broker holds before it answers 429. Small values refuse bursts
	// early; large ones lengthen the queue that a new request waits in.
	MaxInflightMessages int `ini:"maxInflightMessages" default:"100000" min:"1" max:"100000000"`
	// The same as `maxInflightBytes`, for one partition: it keeps a busy partition from taking
	// everybody's room.
	MaxPartitionInflightBytes int64 `ini:"maxPartitionInflightBytes" default:"64MiB" min:"64KiB" max:"1TiB" unit:"bytes"`
	// The same as `maxInflightMessages`, for one partition.
	MaxPartitionInflightMessages int `ini:"maxPartitionInflightMessages" default:"20000" min:"1" max:"100000000"`

	TopicOptions

	// Port of MetaQ's own TCP protocol.
	ServerPort int `ini:"serverPort" default:"8123" min:"1" max:"65535" inert:"has no effect yet: MetaQ's own TCP protocol is not served"`
	// Port of the web dashboard.
	DashboardHTTPPort int `ini:"dashboardHttpPort" default:"8120" min:"1" max:"65535" inert:"has no effect yet: there is no dashboard"`
	// Directory of the transaction journal.
	DataLogPath string `ini:"dataLogPath" default:"ref:dataPath" inert:"has no effect yet: there are no transactions"`
	// Jars and classes of consumer filters in the broker.
	AppClassPath string `ini:"appClassPath" inert:"has no effect yet: there are no filters in the broker"`
	// Transaction checkpoint files that are kept.
	MaxCheckpoints int `ini:"maxCheckpoints" default:"3" min:"1" max:"10000" inert:"has no effect yet: there are no transactions"`
	// Time between two transaction checkpoints.
	CheckpointInterval time.Duration `ini:"checkpointInterval" default:"3600000" min:"1" unit:"ms" inert:"has no effect yet: there are no transactions"`
	// Open transactions that the broker watches for their time limit.
	MaxTxTimeoutTimerCapacity int `ini:"maxTxTimeoutTimerCapacity" default:"30000" min:"1" max:"100000000" inert:"has no effect yet: there are no transactions"`
	// Longest time limit that a client may give its transaction.
	MaxTxTimeout time.Duration `ini:"maxTxTimeoutInSeconds" default:"60" min:"1" unit:"s" inert:"has no effect yet: there are no transactions"`
	// When the transaction journal is synced: 0 never, 1 at each commit, 2 once a second.
	FlushTxLogAtCommit int `ini:"flushTxLogAtCommit" default:"1" min:"0" max:"2" inert:"has no effect yet: there are no transactions"`
	// Threads that serve gets in MetaQ.
	GetProcessThreadCount int `ini:"getProcessThreadCount" default:"10" min:"1" max:"100000" inert:"has no effect: this broker has no thread pools to size"`
	// Threads that serve puts in MetaQ.
	PutProcessThreadCount int `ini:"putProcessThreadCount" default:"10" min:"1" max:"100000" inert:"has no effect: this broker has no thread pools to size"`
	// Threads that run MetaQ's delete jobs.
	QuartzThreadCount int `ini:"quartzThreadCount" default:"5" min:"1" max:"100000" inert:"has no effect: this broker has no thread pools to size"`
	// Open the partitions in parallel at start.
	LoadMessageStoresInParallel bool `ini:"loadMessageStoresInParallel" default:"false" inert:"has no effect: a start reads only the tail of each partition's last segment"`
}

// TopicOptions is what a topic may set for itself. The same keys stand in
// [system], which gives the value to each topic that does not set it.
type TopicOptions struct {
	// Partitions of a topic on this broker. More partitions let more consumers of a group work at
	// once; each costs a directory and a little memory. It may be raised later, not lowered.
	NumPartitions int `ini:"numPartitions" default:"4" required:"file" min:"1" max:"10000"`
	// Directory of the messages; a relative path starts at the working directory. It is made when it
	// is missing. One broker at a time may use it, so the default of broker N above 0 is
	// `./metaq-data-N`.
	DataPath string `ini:"dataPath" default:"./metaq-data" flag:"data"`
	// Messages that may be acknowledged before a sync. `0` or less: an acknowledgement means that
	// the message is on disk. N: it means that it is written, and a sync follows every N messages
	// or every `unflushInterval`; a crash of the machine loses what was not synced.
	UnflushThreshold int `ini:"unflushThreshold" default:"0" min:"-2147483648" max:"2147483647"`
	// Longest time between a write and its sync when `unflushThreshold` is above 0. Short: more
	// syncs. Long: a crash of the machine loses more.
	UnflushInterval time.Duration `ini:"unflushInterval" default:"10000" min:"1" max:"24h" unit:"ms"`
	// Size at which a partition starts a new segment file. Small segments free disk space sooner;
	// large ones mean fewer files.
	MaxSegmentSize int64 `ini:"maxSegmentSize" default:"1GiB" min:"4KiB" max:"2047MiB" unit:"bytes"`
	// Age at which a partition starts a new segment even when it is small, because only closed
	// segments are deleted. Short: data goes soon after its age in `deletePolicy`, in more files.
	// `0`: by size only, so a quiet topic keeps its data.
	MaxSegmentAge time.Duration `ini:"maxSegmentAge" default:"24h" min:"0" max:"876000h" unit:"hours"`
	// Largest message: payload, key and headers. Larger ones are refused with 413. It must fit
	// into `[nats] maxPayload`.
	MaxMessageSize int64 `ini:"maxMessageSize" default:"1MiB" min:"1" max:"32MiB" unit:"bytes"`
	// What happens to closed segments at `deleteWhen`: `delete,AGE` removes those older than AGE,
	// `archive,AGE` renames them to `*.arc`, `archive,AGE,true` compresses them. AGE is in hours
	// (`168`, `168h`) or another unit (`10m`, `10s`). Short ages free disk space; long ones let
	// consumers come back later.
	DeletePolicy DeletePolicy `ini:"deletePolicy" default:"delete,168"`
	// When old segments are looked for: a Quartz cron, seconds first, in the time zone of `TZ` or the machine.
	// Rarely: disk space is freed late. Often: a little more work.
	DeleteWhen Schedule `ini:"deleteWhen" default:"0 0 6,18 * * ?"`
	// Bytes that a partition keeps, on top of `deletePolicy`: the oldest closed segments beyond it
	// are deleted. Small values bound the disk and may delete what nobody has read; `0` sets no
	// limit.
	RetentionBytes int64 `ini:"retentionBytes" default:"0" min:"0" unit:"bytes"`
	// Accept messages. With `false` puts are refused; what is stored can be read.
	AcceptPublish bool `ini:"acceptPublish" default:"true"`
	// Serve readers. With `false` gets are refused; messages are stored.
	AcceptSubscribe bool `ini:"acceptSubscribe" default:"true"`
	// How long a repeated `Nats-Msg-Id` is recognised, in a partition; a message with one and
	// without a key goes to the partition of its id. Long windows need more memory; `0` turns it
	// off.
	DuplicateWindow time.Duration `ini:"duplicateWindow" default:"2m" min:"0" max:"168h" unit:"ms"`
	// Message ids that a partition remembers in its window, about 80 bytes each; beyond it the
	// oldest are forgotten first. Small values bound the memory and may store a repeated message
	// twice; large ones hold the window under load.
	MaxMessageIDs int `ini:"maxMessageIds" default:"1000000" min:"1" max:"100000000"`
	// MetaQ's realtime statistics.
	Stat bool `ini:"stat" default:"false" inert:"has no effect: statistics are always on, see [metrics] listen"`
}

// ListenOptions is what only a topic's own section may set.
type ListenOptions struct {
	// Subjects that existing publishers use, with commas between them and with NATS wildcards:
	// `orders.>,billing.*`. The topic stores what is published there, with the subject in the
	// header `Metaq-Subject`, and acknowledges when there is a reply subject. No two topics may
	// take in the same subject.
	Subjects []string `ini:"subjects" check:"filter"`
	// Which token of the subject, from 1, is the key of a message without a header `Metaq-Key`:
	// with 2 messages of `orders.eu.new` have the key `eu`. `0`: none.
	KeyToken int `ini:"keyToken" default:"0" min:"0" max:"64"`
}

// Topic is one section [topic=NAME].
type Topic struct {
	Name string // A-Z a-z 0-9 _ -, 1 to 128
	TopicOptions
	ListenOptions

	// Filters maps a consumer group to the class that filters its messages in
	// MetaQ's broker (group.NAME=CLASS). It has no effect yet.
	Filters map[string]string
}

// ZooKeeper is section [zookeeper]. Without it the broker uses its local registry.
type ZooKeeper struct {
	// `false`: use the local registry, as if this section were not there.
	Enable bool `ini:"zk.zkEnable" default:"true"`
	// Servers of the ensemble, `host:port` with commas between them; the port is 2181 when it is
	// left out. Name all of them, so that the loss of one does not matter. A path after the last
	// one, `a:2181,b:2181/apps`, is a chroot: an existing node that all paths start from, those of
	// `zk.zkRoot` too.
	Connect []string `ini:"zk.zkConnect" env:"ZOOKEEPER" check:"zkserver"`
	// Silence after which ZooKeeper declares the broker gone. Short: a failed broker is replaced
	// sooner, and a long pause looks like a failure. The ensemble has bounds of its own.
	SessionTimeout time.Duration `ini:"zk.zkSessionTimeoutMs" default:"30000" min:"1000" max:"1h" unit:"ms"`
	// Longest wait for one server's connection before the next one is tried.
	ConnectionTimeout time.Duration `ini:"zk.zkConnectionTimeoutMs" default:"30000" min:"100" max:"1h" unit:"ms" inert:"has no effect: a connection is given up by the session timeout, and the start goes on trying"`
	// Time between two writes of consumer offsets to ZooKeeper. Short: tools see newer offsets.
	// Long: less load. No offset depends on it.
	SyncTime time.Duration `ini:"zk.zkSyncTimeMs" default:"5000" min:"10" max:"1h" unit:"ms"`
	// How long a broker coordinates consumer groups without an answer of ZooKeeper, and how long
	// the others wait before they take over; at most `zk.zkSessionTimeoutMs`, which also counts
	// while no other broker is registered. Short: the groups of a killed broker stand still for
	// less time, and each broker writes more often to ZooKeeper, four times in this time. Long: a
	// pause of ZooKeeper moves no group.
	LeaseTime time.Duration `ini:"zk.zkGroupLeaseMs" default:"5000" min:"1000" max:"1h" unit:"ms"`
	// Node under which everything is kept. Clusters that share an ensemble need different roots.
	Root string `ini:"zk.zkRoot" default:"/meta" check:"zkroot"`

	ZooKeeperAccess `keys:"zk."`

	// With `zk.zkAuth`: everybody may read what the brokers keep in ZooKeeper, so that clients find
	// them without the password; `false` keeps it to its user.
	WorldRead bool `ini:"zk.zkWorldRead" default:"false"`
}

// ZooKeeperAccess is what the ensemble asks for before it serves: a part of
// [zookeeper] and of metaq.ini.
type ZooKeeperAccess struct {
	// `user:password` of ZooKeeper's digest scheme. Brokers make every node for that user alone, and
	// refuse nodes that others may write. Blank: nodes are open to all, as MetaQ's are.
	Auth string `ini:"zkAuth" check:"zkauth" secret:"true"`
	// File whose first line is the `user:password`, to keep it out of this one; instead of `zkAuth`.
	AuthFile string `ini:"zkAuthFile"`
	// Speak TLS with the servers: with their `secureClientPort`.
	TLS bool `ini:"zkTls" default:"false"`
	// File of the authorities, in PEM, of which one must have signed each server's certificate.
	// Blank: those that the machine trusts.
	TLSCA string `ini:"zkTlsCa"`
	// File of the certificate, in PEM, that is shown to servers which ask for one; with `zkTlsKey`.
	TLSCert string `ini:"zkTlsCert"`
	// File of that certificate's key, in PEM.
	TLSKey string `ini:"zkTlsKey"`
	// Name that the servers' certificates must have. Blank: the host that was connected to.
	TLSServerName string `ini:"zkTlsServerName" check:"host"`
}

// NATS is section [nats]: the server inside the broker, or the one to use instead.
type NATS struct {
	// Address that the embedded server listens on. Default: `hostName`; when that is blank, all
	// interfaces (`0.0.0.0`). Without a file 127.0.0.1, which other machines cannot reach.
	Host string `ini:"host" default:"ref:hostName" nofile:"127.0.0.1" check:"host"`
	// Port for clients. Default: 4222 + `brokerId`. `0` picks a free one.
	Port int `ini:"port" default:"ref:brokerId+4222" min:"0" max:"65535"`
	// Port for the other brokers' servers. Default: 6222 + `brokerId`. `0` picks a free one; the
	// brokers find one another through the registry.
	ClusterPort int `ini:"clusterPort" default:"ref:brokerId+6222" min:"0" max:"65535"`
	// Use this NATS deployment instead of the embedded server: `nats://host:port`, several with
	// commas between them.
	URL []string `ini:"url" check:"natsurl"`
	// First part of every subject. Clusters that share a NATS deployment need different prefixes.
	Prefix string `ini:"prefix" default:"metaq" check:"subject"`
	// Largest NATS message that the embedded server takes. It holds at least `maxMessageSize` and
	// `maxTransferSize` and 64 KiB more; very large ones delay what queues behind them.
	MaxPayload int64 `ini:"maxPayload" default:"8MiB" min:"64KiB" max:"64MiB" unit:"bytes"`
	// Connections of clients that are accepted, but at most 70 % of the process's descriptors, so
	// that files can be opened. Small values protect memory; clients beyond it are refused.
	MaxConnections int `ini:"maxConnections" default:"65536" min:"1" max:"10000000"`
	// Connections from one address; new ones are taken at a tenth of it a second after a burst of
	// all of it. Gateways and the nodes of a cluster share addresses, so `0` sets no limit.
	MaxConnectionsPerAddress int `ini:"maxConnectionsPerAddress" default:"0" min:"0" max:"10000000"`
	// Subscriptions of one connection; one more is refused. Each takes about a kilobyte.
	MaxSubscriptions int `ini:"maxSubscriptions" default:"10000" min:"16" max:"10000000"`
}

// Metrics is section [metrics].
type Metrics struct {
	// `host:port` of the HTTP server for `/metrics`, `/healthz` and `/readyz`. Blank: none. It has
	// no password: keep it on a trusted network.
	Listen string `ini:"listen" flag:"metrics" check:"listen"`
	// Serve Go's profiles under `/debug/pprof/` too. They cost processor time while somebody reads
	// them.
	Pprof bool `ini:"pprof" default:"false"`
}

// ClientOptions is the client's metaq.ini, which has no sections.
type ClientOptions struct {
	// ZooKeeper servers through which the brokers are found, `host:port` with commas between them;
	// the port is 2181 when it is left out. A path after the last one is the chroot, as in the
	// brokers' `zk.zkConnect`.
	ZooKeeper []string `ini:"zookeeper" check:"zkserver"`
	// The cluster's `zk.zkRoot`.
	ZkRoot string `ini:"zkRoot" default:"/meta" check:"zkroot"`

	ZooKeeperAccess

	// Brokers to connect to directly instead of asking ZooKeeper: `nats://host:port`, several with
	// commas between them.
	Server []string `ini:"server" check:"natsurl"`
	// Directory of what must survive the client's restart: messages that a consumer could not hand
	// over, if it keeps such ones (`client.Keep`), and the offsets of broadcast consumers. It is made
	// at its first use. Blank: neither can be had. A relative path begins where the program was
	// started.
	MessageDir string `ini:"messagedir" env:"MESSAGE_DIR"`
	// The cluster's `[nats] prefix`.
	Prefix string `ini:"prefix" env:"NATS_PREFIX" default:"metaq" check:"subject"`
}
