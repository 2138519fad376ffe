#!/usr/bin/env bash
# What the official image's entry point does with the variables of the compose file.
set -euo pipefail

conf=/conf
if [ ! -f "$conf/zoo.cfg" ]; then
	{
		echo "dataDir=/data"
		echo "dataLogDir=/datalog"
		echo "tickTime=${ZOO_TICK_TIME:-2000}"
		echo "initLimit=${ZOO_INIT_LIMIT:-5}"
		echo "syncLimit=${ZOO_SYNC_LIMIT:-2}"
		echo "maxClientCnxns=${ZOO_MAX_CLIENT_CNXNS:-60}"
		echo "standaloneEnabled=${ZOO_STANDALONE_ENABLED:-true}"
		echo "admin.enableServer=${ZOO_ADMINSERVER_ENABLED:-true}"
		for server in ${ZOO_SERVERS:-server.1=localhost:2888:3888;2181}; do echo "$server"; done
	} >"$conf/zoo.cfg"
fi
[ -f /data/myid ] || echo "${ZOO_MY_ID:-1}" >/data/myid

# Debian keeps the settings of the scripts in one file, the official image in variables.
cat >"$conf/environment" <<'FILE'
ZOOMAIN=org.apache.zookeeper.server.quorum.QuorumPeerMain
ZOOCFGDIR=/conf
ZOOCFG=/conf/zoo.cfg
ZOO_LOG_DIR=/logs
JMXDISABLE=true
JAVA=/usr/bin/java
CLASSPATH="/conf:/usr/share/java/zookeeper.jar"
FILE
ln -sfn "$conf" /etc/zookeeper/conf

id zookeeper >/dev/null 2>&1 || useradd --system --no-create-home zookeeper
chown -R zookeeper /data /datalog /logs "$conf"
exec gosu zookeeper "$@"
