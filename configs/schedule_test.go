package configs

import (
	"strings"
	"testing"
	"time"
)

func TestSchedulesFireAtTheirTimes(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	at := func(zone *time.Location, day, hour, minute, second int) time.Time {
		return time.Date(2026, time.March, day, hour, minute, second, 0, zone) // a Sunday first
	}
	for _, c := range []struct {
		cron        string
		after, want time.Time
	}{
		{"0 0 6,18 * * ?", at(time.UTC, 2, 0, 0, 0), at(time.UTC, 2, 6, 0, 0)},
		{"0 0 6,18 * * ?", at(time.UTC, 2, 6, 0, 0), at(time.UTC, 2, 18, 0, 0)},
		{"0 0 6,18 * * ?", at(time.UTC, 2, 18, 0, 0), at(time.UTC, 3, 6, 0, 0)},
		{"0 0 6,18 * * ?", at(berlin, 2, 17, 59, 59), at(berlin, 2, 18, 0, 0)},
		{"0 0 6 * * ?", at(berlin, 28, 7, 0, 0), at(berlin, 29, 6, 0, 0)}, // the clocks change in between
		{"0/10 * * * * ?", at(time.UTC, 2, 0, 0, 5), at(time.UTC, 2, 0, 0, 10)},
		{"0  0 12 ?\t* MON-FRI", at(time.UTC, 6, 13, 0, 0), at(time.UTC, 9, 12, 0, 0)},
		{"0 0 0 ? * SUN,WED", at(time.UTC, 1, 0, 0, 0), at(time.UTC, 4, 0, 0, 0)},
		{"0 15 10 L * ?", at(time.UTC, 2, 0, 0, 0), at(time.UTC, 31, 10, 15, 0)},
	} {
		s, err := ParseSchedule(c.cron, c.after.Location())
		if err != nil {
			t.Errorf("%q: %v", c.cron, err)
			continue
		}
		if got, fires := s.Next(c.after); !fires || !got.Equal(c.want) {
			t.Errorf("%q after %v: %v, %v; want %v", c.cron, c.after, got, fires, c.want)
		}
	}
}

func TestTheZeroScheduleNeverFires(t *testing.T) {
	if next, fires := (Schedule{}).Next(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)); fires {
		t.Errorf("fires at %v", next)
	}
}

// When the clocks change a time may not exist or exist twice: the schedule must go on.
func TestSchedulesGoOnWhenTheClocksChange(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for _, cron := range []string{"0 30 2 * * ?", "0 0 3 * * ?", "0 30 * * * ?"} {
		s, err := ParseSchedule(cron, berlin)
		if err != nil {
			t.Fatal(err)
		}
		end := time.Date(2027, 1, 1, 0, 0, 0, 0, berlin)
		for now := time.Date(2026, 1, 1, 0, 0, 0, 0, berlin); now.Before(end); {
			next, fires := s.Next(now)
			if !fires || !next.After(now) || next.Sub(now) > 26*time.Hour {
				t.Fatalf("%q after %v: %v, %v", cron, now, next, fires)
			}
			now = next
		}
	}
}

func TestWrongSchedulesAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"":                 "length",
		"0 0 6":            "length",
		"0 0 6 * * ? * *":  "length",
		"0 0 25 * * ?":     "25",
		"0 0 6,25 * * ?":   "25", // the library alone would take it
		"0 0 6 1,32 * ?":   "32",
		"0 0 6 ? * MON,8":  "8",
		"0 0 6 1 * MON":    "day field set twice",
		"0 0 6 * * FUNDAY": "FUNDAY",
		"0 0 0/0 * * ?":    "0/0",
		"0 0 6 * * ? 2027": "years are not supported",
		"daily":            "length",
	} {
		_, err := ParseSchedule(text, time.UTC)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "such as 0 0 6,18 * * ?") {
			t.Errorf("%q: %v; want %q and an example", text, err, want)
		}
	}
}

func FuzzParseSchedule(f *testing.F) {
	for _, seed := range []string{"0 0 6,18 * * ?", "0 0 0 31 2 ?", "0 0 0 ? * 2#5", "0 0 0 LW * ?", "0 0 0 L-30 2 ?", "0 0 0 31W 2 ?", "@daily"} {
		f.Add(seed)
	}
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSchedule(text, time.UTC)
		if err != nil {
			return
		}
		if next, fires := s.Next(start); fires && !next.After(start) {
			t.Fatalf("%q after %v fires at %v", text, start, next)
		}
	})
}
