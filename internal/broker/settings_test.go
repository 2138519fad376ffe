package broker

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"metaq/actors"
	"metaq/configs"
	"metaq/protocol"
)

func config(t testing.TB, flags map[string]string) *configs.Server {
	t.Helper()
	cfg, err := configs.Load(configs.LoadOptions{Flags: flags, Zone: time.UTC})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func ptr[T any](v T) *T { return &v }

func TestATopicsOwnSettingsGoOverTheBrokers(t *testing.T) {
	cfg := config(t, map[string]string{"delete-policy": "archive,24,true", "unflush-threshold": "7", "retention-bytes": "1MiB"})
	base, err := resolve(cfg, time.UTC, "t", protocol.TopicConfig{})
	if err != nil {
		t.Fatal(err)
	}
	want := actors.Settings{
		UnflushThreshold: 7, UnflushInterval: 10 * time.Second,
		MaxSegmentSize: 1 << 30, MaxSegmentAge: 24 * time.Hour, DuplicateWindow: 2 * time.Minute, MaxMessageIDs: 1_000_000,
		Retention: actors.Retention{Age: 24 * time.Hour, Bytes: 1 << 20, Archive: true, Compress: true},
	}
	same := cmp.FilterPath(func(p cmp.Path) bool { return p.String() == "RetainAt" }, cmp.Ignore())
	if d := cmp.Diff(want, base, same); d != "" {
		t.Error(d)
	}
	own, err := resolve(cfg, time.UTC, "t", protocol.TopicConfig{
		DeletePolicy: ptr("delete,1"), DeleteWhen: ptr("0 30 * * * ?"), RetentionBytes: ptr(int64(0)), MaxSegmentSize: ptr(int64(8192)),
		UnflushThreshold: ptr(0), UnflushInterval: ptr(int64(500)), AcceptPublish: ptr(false), AcceptSubscribe: ptr(false),
		DuplicateWindow: ptr(int64(0)), Subjects: ptr([]string{"sales.>"}), KeyToken: ptr(2),
	})
	if err != nil {
		t.Fatal(err)
	}
	want = actors.Settings{
		UnflushInterval: 500 * time.Millisecond, MaxSegmentSize: 8192, MaxSegmentAge: 24 * time.Hour,
		MaxMessageIDs: 1_000_000, Subjects: []string{"sales.>"}, KeyToken: 2,
		Retention: actors.Retention{Age: time.Hour}, NoPublish: true, NoSubscribe: true,
	}
	if d := cmp.Diff(want, own, same); d != "" {
		t.Error(d)
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	if next, ok := own.RetainAt.Next(at); !ok || !next.Equal(time.Date(2026, 1, 2, 3, 30, 0, 0, time.UTC)) {
		t.Errorf("retention at %s, %v", next, ok)
	}
}

// The configuration's age 0 means every closed segment; the log's means none.
func TestAnAgeOfNothingDeletesEverythingClosed(t *testing.T) {
	s, err := resolve(config(t, nil), time.UTC, "t", protocol.TopicConfig{DeletePolicy: ptr("delete,0")})
	if err != nil {
		t.Fatal(err)
	}
	if s.Retention.Age <= 0 || s.Retention.Age > time.Millisecond {
		t.Errorf("age %s", s.Retention.Age)
	}
}

func TestSettingsThatAreRefused(t *testing.T) {
	for name, c := range map[string]protocol.TopicConfig{
		`delete_policy "shred,1"`:                 {DeletePolicy: ptr("shred,1")},
		`delete_when "daily"`:                     {DeleteWhen: ptr("daily")},
		"retention_bytes is -1":                   {RetentionBytes: ptr(int64(-1))},
		"max_segment_size is 4095":                {MaxSegmentSize: ptr(int64(4095))},
		"unflush_interval is 0":                   {UnflushInterval: ptr(int64(0))},
		"duplicate_window is -1":                  {DuplicateWindow: ptr(int64(-1))},
		"key_token is 65":                         {KeyToken: ptr(65)},
		`subject "metaq.>"`:                       {Subjects: ptr([]string{"metaq.>"})},
		"unflush_interval is 9223372036854775807": {UnflushInterval: ptr(int64(1<<63 - 1))},
	} {
		_, err := resolve(config(t, nil), time.UTC, "t", c)
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAnUnflushThresholdHas32Bits(t *testing.T) {
	for _, n := range []int{math.MaxInt32 + 1, math.MinInt32 - 1, math.MaxInt} {
		if _, err := resolve(config(t, nil), time.UTC, "t", protocol.TopicConfig{UnflushThreshold: &n}); err == nil {
			t.Errorf("unflush_threshold %d was taken", n)
		}
	}
	if s, err := resolve(config(t, nil), time.UTC, "t", protocol.TopicConfig{UnflushThreshold: ptr(math.MaxInt32)}); err != nil || s.UnflushThreshold != math.MaxInt32 {
		t.Errorf("the largest one: %v", err)
	}
}
