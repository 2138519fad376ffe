package zookeeper_test

import (
	"testing"

	"metaq/cluster/registry"
	"metaq/cluster/registrytest"
)

func TestZooKeeperContract(t *testing.T) {
	e := registrytest.ZooKeeper(t)
	registrytest.Suite(t, func(t testing.TB) registry.Opener {
		return registrytest.ZooKeeperOpener(t, registrytest.ZooKeeperOptions(e))
	})
}
