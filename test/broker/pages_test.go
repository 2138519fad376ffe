package broker

import (
	"fmt"
	"testing"

	metaq "metaq/client"
	"metaq/protocol"
)

// narrow are the settings of a broker whose answers soon fill a NATS message.
const narrow = "[system]\nbrokerId=0\nnumPartitions=1\nmaxMessageSize=1024\nmaxTransferSize=4096\n" +
	"[nats]\nhost=127.0.0.1\nport=0\nmaxPayload=80KiB\n"

// A change whose answer is larger than a NATS message is done, is told as done, and all of
// it can be seen.
func TestAnswersLargerThanAMessageComeInPages(t *testing.T) {
	const wide = 1000
	b := start(t, options{file: narrow})
	var first protocol.TopicInfo
	b.askJSON("metaq.admin.topic.create", fmt.Sprintf(`{"topic":"wide","partitions":%d}`, wide), &first)
	if first.Topic != "wide" || len(first.Partitions) == 0 || first.Next == "" {
		t.Errorf("%d partitions, next %q", len(first.Partitions), first.Next)
	}
	b.put("metaq.put.wide.0-999", "", "x")
	seen, after := 0, ""
	for {
		var page protocol.TopicInfo
		b.askJSON("metaq.admin.topic.info", fmt.Sprintf(`{"topic":"wide","after":%q,"limit":300}`, after), &page)
		for i, p := range page.Partitions {
			if p.Partition.N != seen+i {
				t.Fatalf("partition %s in place %d", p.Partition, seen+i)
			}
		}
		if seen += len(page.Partitions); page.Next == "" {
			break
		}
		if len(page.Partitions) != 300 {
			t.Errorf("a page of %d partitions", len(page.Partitions))
		}
		after = page.Next
	}
	if seen != wide {
		t.Errorf("%d of %d partitions are shown", seen, wide)
	}
	b.refused(400, "metaq.admin.topic.info", `{"topic":"wide","after":"the first"}`)
	b.refused(400, "metaq.admin.topic.ls", `{"limit":-1}`)

	c, err := metaq.Connect(t.Context(), metaq.WithServers(b.URL()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	info, err := c.Admin().SetTopic(t.Context(), protocol.TopicSet{Topic: "wide", Partitions: wide + 1})
	if err != nil || len(info.Partitions) != wide+1 || info.Next != "" || info.Partitions[wide-1].EndOffset != 1 {
		t.Errorf("the client sees %d partitions, next %q, %v", len(info.Partitions), info.Next, err)
	}
	b.create("a", 1)
	b.create("z", 1)
	var topics protocol.TopicList
	b.askJSON("metaq.admin.topic.ls", `{"limit":2}`, &topics)
	if len(topics.Topics) != 2 || topics.Topics[0].Topic != "a" || topics.Next != "wide" {
		t.Errorf("%+v", topics)
	}
	if all, err := c.Admin().ListTopics(t.Context()); err != nil || len(all) != 3 {
		t.Errorf("the client sees %+v, %v", all, err)
	}
}
