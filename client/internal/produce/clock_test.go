package produce

import (
	"testing"
	"time"
)

func TestLazyClockReadsSeldomWhenRecordsComeFast(t *testing.T) {
	base := time.Unix(1000, 0)
	now, reads := base, 0
	c := lazyClock{now: func() time.Time { reads++; return now }}
	for i := range 10_000 {
		now = base.Add(time.Duration(i) * time.Microsecond)
		if late := now.Sub(c.read()); late < 0 || late >= time.Millisecond {
			t.Fatalf("record %d got a time that is %v old", i, late)
		}
	}
	if reads > 200 {
		t.Errorf("10,000 records took %d readings", reads)
	}
	now = now.Add(time.Minute)
	if got := c.readNow(); !got.Equal(now) {
		t.Errorf("after a pause the time is %v old", now.Sub(got))
	}
	for i := range 100 {
		now = now.Add(time.Second)
		if got := c.read(); !got.Equal(now) {
			t.Fatalf("slow record %d got a time that is %v old", i, now.Sub(got))
		}
	}
}
