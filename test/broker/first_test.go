package broker

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPutAndGet(t *testing.T) {
	b := start(t, options{})
	for _, v := range []string{"one", "two", "three"} {
		b.put("metaq.put.orders", "k", v)
	}
	p := b.put("metaq.put.orders", "k", "four").Partition
	if d := cmp.Diff([]string{"one", "two", "three", "four"}, values(b.all("orders", p.String()))); d != "" {
		t.Error(d)
	}
}
