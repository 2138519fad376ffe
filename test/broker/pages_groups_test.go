package broker

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	metaq "metaq/client"
	"metaq/protocol"
)

// The view of a member of a wide group is larger than a NATS message, and so are the group's
// info and offsets: members work on all partitions, hand half of them over, and all of it can
// be seen and reset.
func TestAWideGroupWorksAndIsShown(t *testing.T) {
	const wide = 600
	topic := strings.Repeat("t", protocol.MaxNameLen)
	b := start(t, options{file: narrow})
	b.create(topic, wide)
	for _, n := range []int{0, wide / 2, wide - 1} {
		b.put(fmt.Sprintf("metaq.put.%s.0-%d", topic, n), "", "x")
	}
	c, err := metaq.Connect(t.Context(), metaq.WithServers(b.URL()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	got := make(chan metaq.Record, 16)
	consume := func() *metaq.Consumer {
		con, err := c.NewConsumer(t.Context(), "g", []string{topic}, func(_ context.Context, r metaq.Record) error {
			got <- r
			return nil
		}, metaq.ConsumeFrom(metaq.Earliest()), metaq.OnFailure(metaq.Drop))
		if err != nil {
			t.Fatal(err)
		}
		return con
	}
	end := func(con *metaq.Consumer) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if err := con.Close(ctx); err != nil {
			t.Error(err)
		}
	}
	one := consume()
	for range 3 {
		select {
		case <-got:
		case <-time.After(patience):
			t.Fatal("a message has not come")
		}
	}
	two := consume()
	shares := func(info protocol.GroupInfo) string {
		s := info.State
		for _, m := range info.Members {
			s += fmt.Sprintf(" %d", m.Partitions)
		}
		return s
	}
	want := fmt.Sprintf("%s %d %d", protocol.GroupStable, wide/2, wide/2)
	for deadline := time.Now().Add(patience); ; {
		info, err := c.Admin().GroupInfo(t.Context(), "g")
		if err != nil {
			t.Fatal(err)
		}
		if shares(info) == want && len(info.Partitions) == wide && info.Next == "" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s, %d partitions", shares(info), len(info.Partitions))
		}
	}
	b.put(fmt.Sprintf("metaq.put.%s.0-%d", topic, wide-1), "", "y")
	select {
	case r := <-got:
		if r.Partition.N != wide-1 {
			t.Errorf("partition %s", r.Partition)
		}
	case <-time.After(patience):
		t.Fatal("a message of a partition on the last page has not come")
	}
	end(one)
	end(two)

	var page protocol.GroupOffsets
	b.askJSON("metaq.group.g.offsets", `{"limit":7}`, &page)
	if len(page.Offsets) != 7 || page.Next == "" {
		t.Errorf("%d offsets, next %q", len(page.Offsets), page.Next)
	}
	if all, err := c.Admin().GroupOffsets(t.Context(), "g"); err != nil || len(all) != wide || all[wide-1].Offset != 2 {
		t.Errorf("%d offsets, %v", len(all), err)
	}
	moved, err := c.Admin().GroupReset(t.Context(), "g", topic, metaq.Earliest(), false)
	if err != nil || len(moved) != wide || moved[wide-1].Offset != 0 {
		t.Errorf("%d offsets were reset, %v", len(moved), err)
	}
	b.refused(400, "metaq.group.g.info", `{"after":"nothing:x"}`)
}
