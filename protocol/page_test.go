package protocol

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func topicOf(n int) TopicInfo {
	t := TopicInfo{Topic: "t", Partitions: []PartitionInfo{}}
	for i := range n {
		t.Partitions = append(t.Partitions, PartitionInfo{Partition: PartitionID{Home: i / 1000, N: i % 1000}, Bytes: 64})
	}
	return t
}

func clusterOf(n int) ClusterInfo {
	c := ClusterInfo{Brokers: []BrokerInfo{}, Failed: []FailedPartition{}, Leaderless: []FailedPartition{}}
	for i := range n {
		c.Brokers = append(c.Brokers, BrokerInfo{BrokerID: i})
		f := FailedPartition{Topic: fmt.Sprintf("t%03d", i/20), Partition: PartitionID{N: i % 20}, Error: "broken"}
		c.Failed, c.Leaderless = append(c.Failed, f), append(c.Leaderless, f)
	}
	return c
}

// pagesOf puts an answer together from its pages.
func pagesOf[T Pages](t *testing.T, all T, limit, size int, join func(sum, page T) (T, string)) (sum T, pages int) {
	t.Helper()
	err := EachPage(func(after string) (next string, err error) {
		p := Page{After: after, Limit: limit}
		if err := p.Check(); err != nil {
			return "", err
		}
		cut, err := all.Cut(p, size)
		if err != nil {
			return "", err
		}
		pages++
		if b, err := json.Marshal(cut); err != nil || len(b) > size {
			t.Errorf("page %d has %d bytes, more than %d (%v)", pages, len(b), size, err)
		}
		sum, next = join(sum, cut.(T))
		return next, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return sum, pages
}

func TestPagesOfAListAreTheList(t *testing.T) {
	for _, c := range []struct{ entries, limit, size int }{
		{0, 0, 4096}, {1, 0, 4096}, {1, 1, 4096}, {7, 3, 4096}, {9, 3, 4096}, {300, 0, 4096}, {3000, 0, 1 << 16}, {1001, 1000, 1 << 20},
	} {
		name := fmt.Sprintf("%d entries, limit %d, %d bytes", c.entries, c.limit, c.size)
		want := topicOf(c.entries)
		got, pages := pagesOf(t, want, c.limit, c.size, func(sum, page TopicInfo) (TopicInfo, string) {
			next := page.Next
			page.Partitions, page.Next = append(sum.Partitions, page.Partitions...), ""
			return page, next
		})
		if len(got.Partitions) == 0 {
			got.Partitions = []PartitionInfo{}
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("topic, %s: %s", name, d)
		}
		if c.limit > 0 && pages != max(1, (c.entries+c.limit-1)/c.limit) {
			t.Errorf("topic, %s: %d pages", name, pages)
		}
		cluster := clusterOf(c.entries)
		sum, _ := pagesOf(t, cluster, c.limit, c.size, func(sum, page ClusterInfo) (ClusterInfo, string) {
			sum.Brokers = append(sum.Brokers, page.Brokers...)
			sum.Failed = append(sum.Failed, page.Failed...)
			sum.Leaderless = append(sum.Leaderless, page.Leaderless...)
			return sum, page.Next
		})
		if len(sum.Brokers) != c.entries || c.entries > 0 && !cmp.Equal(cluster, sum) {
			t.Errorf("cluster, %s: %s", name, cmp.Diff(cluster, sum))
		}
	}
}

// An entry that has gone since the page before costs none of those behind it.
func TestAPageBeginsBehindAnEntryThatHasGone(t *testing.T) {
	l := TopicList{Topics: []TopicSummary{{Topic: "a"}, {Topic: "c"}, {Topic: "d"}}}
	cut, err := l.Cut(Page{After: "b"}, 4096)
	if err != nil || !cmp.Equal(cut, any(TopicList{Topics: []TopicSummary{{Topic: "c"}, {Topic: "d"}}})) {
		t.Errorf("%+v, %v", cut, err)
	}
}

func TestPagesThatAreRefused(t *testing.T) {
	for _, p := range []Page{{Limit: -1}, {After: "a b"}, {After: "a\r\n"}, {After: fmt.Sprintf("%0300d", 1)}} {
		if err := p.Check(); !errors.Is(err, ErrBadRequest) {
			t.Errorf("%+v: %v", p, err)
		}
	}
	if _, err := topicOf(3).Cut(Page{After: "first"}, 4096); !errors.Is(err, ErrBadRequest) {
		t.Error(err)
	}
	if _, err := clusterOf(3).Cut(Page{After: "broker:x"}, 4096); !errors.Is(err, ErrBadRequest) {
		t.Error(err)
	}
	if _, err := topicOf(3).Cut(Page{}, 300); !errors.Is(err, ErrAnswerSize) {
		t.Error(err)
	}
	if err := EachPage(func(string) (string, error) { return "same", nil }); !errors.Is(err, ErrInternal) {
		t.Error(err)
	}
}
