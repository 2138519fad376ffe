package arch

import (
	"slices"
	"strconv"
	"strings"
	"testing"
)

// allowed says which of our packages a package may import. Imports go one way:
// cmd -> internal/broker -> those who decide, remember and own -> protocol.
// Tests may import more, since Go itself forbids the circles; packages below
// test/ may import everything.
var allowed = map[string][]string{
	"protocol":             {"internal/aligned"},
	"internal/arch":        {},
	"internal/aligned":     {}, // memory for disks, which is used from the message to the file
	"internal/vfs":         {"internal/aligned"},
	"internal/vfs/faultfs": {"internal/vfs"},
	"persistence":          {"internal/aligned", "internal/vfs", "protocol"},
	"persistence/store":    {"configs", "internal/vfs", "persistence", "protocol"},
	"cluster":              {"cluster/registry", "internal/vfs", "protocol"},
	"cluster/registry":     {},
	"cluster/zookeeper":    {"cluster/registry"},
	"cluster/local":        {"cluster/registry", "internal/vfs"},
	"cluster/registrytest": {"cluster", "cluster/local", "cluster/registry", "cluster/zookeeper", "internal/vfs", "test/zk"},
	"configs":              {"protocol"},
	"transport":            {"actors", "protocol", "transport/front", "transport/resolver", "transport/turns"}, // actors for the messages
	"transport/front":      {},
	"transport/resolver":   {"actors", "protocol"},
	"transport/turns":      {},
	"actors":               {"protocol"}, // it declares the interfaces that the rooms below need
	"actors/partition":     {"actors", "internal/aligned", "protocol"},
	"actors/group":         {"actors", "actors/group/core", "protocol"},
	"actors/group/core":    {"protocol"},
	"actors/topic":         {"actors", "actors/partition", "protocol"},
	"actors/system":        {"actors", "actors/partition", "actors/topic", "protocol"},
	"actors/actorstest":    {"actors", "internal/aligned", "protocol"},
	"client":               {"client/internal/fetch", "client/internal/group", "client/internal/link", "client/internal/produce", "protocol"},
	// The rooms of client know one another by link only, and nothing of the public package.
	"client/internal/link":       {"protocol"},
	"client/internal/produce":    {"client/internal/link", "protocol"},
	"client/internal/fetch":      {"client/internal/link", "protocol"},
	"client/internal/group":      {"client/internal/link", "protocol"},
	"client/internal/clientfake": {"client/internal/link", "protocol"},                           // for tests
	"client/clienttest":          {"configs", "internal/broker"},                                 // a broker for tests of programs; package client stays free of it
	"client/discovery":           {"client", "cluster", "cluster/registry", "cluster/zookeeper"}, // read-only; apart from client, so that client needs no ZooKeeper
	"client/messagedir":          {"client", "internal/vfs", "protocol"},                         // apart from client, so that one that keeps nothing needs no file system
	"internal/broker": {
		"actors", "actors/group", "actors/group/core", "actors/system", "cluster", "cluster/local", "cluster/registry", "cluster/zookeeper", "configs", "internal/vfs", "persistence", "persistence/store", "protocol", "transport", "transport/front", "transport/resolver", "transport/turns",
	},
	"internal/bench": {"client", "internal/cli", "protocol"},
	"internal/cli":   {"protocol"},
	"internal/lines": {},
	"internal/pipe":  {"client", "internal/cli", "internal/lines", "protocol"},
	"internal/demo":  {"client", "configs", "internal/broker", "internal/cli", "internal/lines", "protocol"},
	"cmd/metaq": {
		"client", "client/discovery", "client/messagedir", "configs", "internal/bench", "internal/broker", "internal/cli", "internal/demo", "internal/lines", "internal/pipe", "internal/vfs",
		"persistence", "protocol",
	},
}

// owners says who may import a library that stands for one concern, the packages
// below them included. All others reach the concern through its owner.
var owners = map[string][]string{
	"github.com/asynkron/protoactor-go": {"actors", "client", "internal/broker", "transport"},
	"github.com/gofrs/flock":            {"internal/vfs"},
	"github.com/go-zookeeper/zk":        {"cluster/zookeeper"},
	"github.com/nats-io/nats-server/v2": {"client/internal/clientfake", "internal/broker", "transport"},
	"github.com/nats-io/nats.go":        {"client", "cmd/metaq", "internal/broker", "transport"},
	"github.com/spf13/cobra":            {"cmd/metaq", "internal/cli"},
	"gopkg.in/ini.v1":                   {"configs"},
}

// importsOf returns the import paths of a file.
func importsOf(t *testing.T, s source) []string {
	t.Helper()
	var paths []string
	for _, spec := range s.ast.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatalf("%s imports %s: %v", s.name, spec.Path.Value, err)
		}
		paths = append(paths, p)
	}
	return paths
}

func TestImportsPointOneWay(t *testing.T) {
	for _, s := range sources(t) {
		if isTest(s.name) || strings.HasPrefix(s.pkg, "test/") {
			continue
		}
		may, known := allowed[s.pkg]
		if !known {
			t.Errorf("%s: package %s is not in the map of imports: say in internal/arch what it may import", s.name, s.pkg)
			continue
		}
		for _, p := range importsOf(t, s) {
			ours, isOurs := strings.CutPrefix(p, "metaq/")
			if isOurs && !slices.Contains(may, ours) {
				t.Errorf("%s imports %s: declare an interface there and let internal/broker plug it in", s.name, p)
			}
		}
	}
}

func TestLibrariesStayWithTheirOwners(t *testing.T) {
	for _, s := range sources(t) {
		if isTest(s.name) || strings.HasPrefix(s.pkg, "test/") {
			continue
		}
		for _, p := range importsOf(t, s) {
			for library, may := range owners {
				owned := func(owner string) bool { return within(s.pkg, owner) }
				if within(p, library) && !slices.ContainsFunc(may, owned) {
					t.Errorf("%s imports %s, which only %s may", s.name, p, strings.Join(may, ", "))
				}
			}
		}
	}
}

// within says whether a package's path is parent or lies below it.
func within(p, parent string) bool {
	return p == parent || strings.HasPrefix(p, parent+"/")
}
