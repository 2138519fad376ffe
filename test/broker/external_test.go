package broker

import (
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"metaq/protocol"
	"metaq/transport"
)

func TestABrokerOnAnotherNATSServer(t *testing.T) {
	server, err := transport.StartServer(transport.ServerOptions{
		Host: "127.0.0.1", MaxPayload: 256 << 10, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	_, port, err := net.SplitHostPort(server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b := start(t, options{flags: map[string]string{"nats-url": "nats://127.0.0.1:" + port, "nats-prefix": "test.metaq"}})
	var info protocol.BrokerInfo
	c := connect(t, b.URL())
	c.askJSON("test.metaq.admin.broker.info", "", &info)
	if info.MaxPayload != 256<<10 || info.NATS != "nats://127.0.0.1:"+port {
		t.Errorf("%+v", info)
	}
	c.put("test.metaq.put.t.0-0", "", "hello")
	var r protocol.GetReply
	c.askJSON("test.metaq.get.t.0-0", `{"offset":0}`, &r)
	if d := cmp.Diff([]string{"hello"}, values(r.Messages)); d != "" {
		t.Error(d)
	}
	// The payload of that server is the limit now, whatever server.ini says.
	if answer := c.refusedBatch("test.metaq.batch.t.0-0", 256<<10-20); !strings.Contains(answer, "the limit is 262120") {
		t.Error(answer)
	}
	c.nc.Close()
	b.nc.Close()
}

// refusedBatch sends n bytes, too many, as a batch.
func (c *client) refusedBatch(subject string, n int) string {
	c.t.Helper()
	return c.refused(413, subject, strings.Repeat("x", n))
}

func TestAnotherNATSServerThatIsNotThere(t *testing.T) {
	dir := t.TempDir()
	_, err := tryStart(t, options{dir: dir, flags: map[string]string{"nats-url": "nats://user:secret@127.0.0.1:1"}})
	if err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v", err)
	}
	start(t, options{dir: dir}) // nothing is left locked
}
