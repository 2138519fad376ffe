package cluster_test

import (
	"testing"

	"metaq/cluster"
	"metaq/cluster/registrytest"
)

func TestZooKeeperContract(t *testing.T) {
	e := zooKeeper(t)
	registrytest.Suite(t, func(t testing.TB) cluster.Opener { return zkOpener(t, zkOptions(e)) })
}
