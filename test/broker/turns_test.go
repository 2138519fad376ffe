package broker

import (
	"encoding/json"
	"fmt"
	"testing"

	"metaq/protocol"
)

// Four connections that send requests to groups, or of the administration, without waiting for
// any answer do not stand before a member on another connection, and nobody is refused. What
// they have sent is answered later: when the member has its answers, most of it is not.
func TestOneConnectionsRequestsDoNotStandBeforeAnothers(t *testing.T) {
	const connections, wide = 4, 300
	for name, flood := range map[string]struct {
		each    int
		request func(connection, i int) (subject, body string)
	}{
		"joins of new groups": {600, func(connection, i int) (string, string) {
			return fmt.Sprintf("metaq.group.new-%d-%d.join", connection, i), `{"topics":["t"]}`
		}},
		"descriptions of a wide group": {500, func(int, int) (string, string) { return "metaq.group.wide.info", `{}` }},
		"descriptions of a wide topic": {800, func(int, int) (string, string) {
			return "metaq.admin.topic.info", `{"topic":"wide"}`
		}},
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t, options{})
			b.create("t", 1)
			b.create("wide", wide)
			var member, other protocol.GroupView
			b.askJSON("metaq.group.g.join", `{"topics":["t"]}`, &member)
			b.askJSON("metaq.group.wide.join", `{"topics":["wide"]}`, &other)
			beat, err := json.Marshal(protocol.GroupHeartbeat{Member: member.Member, Generation: member.Generation, Revision: member.Revision})
			if err != nil {
				t.Fatal(err)
			}
			var floods []*client
			for c := range connections {
				one := connect(t, b.URL())
				for i := range flood.each {
					subject, body := flood.request(c, i)
					one.request(subject, nil, []byte(body))
				}
				floods = append(floods, one)
			}
			for _, one := range floods {
				one.wait("1")
			}
			var info protocol.TopicInfo
			b.askJSON("metaq.group.g.heartbeat", string(beat), new(protocol.GroupView))
			b.askJSON("metaq.admin.topic.info", `{"topic":"t"}`, &info)
			answered := 0
			for _, one := range floods {
				answered += len(one.answers) + len(one.got)
			}
			if total := connections * flood.each; answered > total/2 {
				t.Errorf("the member waited until %d of %d requests of others had been answered", answered, total)
			}
			for _, one := range floods {
				for i := range flood.each {
					if err := protocol.DecodeError(one.wait(fmt.Sprint(i + 1)).Data); err != nil {
						t.Fatalf("request %d of others: %v", i+1, err)
					}
				}
			}
		})
	}
}
