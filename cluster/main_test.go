package cluster_test

import (
	"testing"

	"metaq/cluster/registrytest"
)

func TestMain(m *testing.M) { registrytest.Main(m) }
