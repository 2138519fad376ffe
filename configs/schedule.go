package configs

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/reugn/go-quartz/quartz"
)

// Schedule is a Quartz cron: second, minute, hour, day of month, month, day of
// week. The zero Schedule never fires. It is safe for concurrent use.
type Schedule struct {
	text    string
	zone    *time.Location
	trigger *quartz.CronTrigger
}

// ParseSchedule reads a cron such as "0 0 6,18 * * ?". Its times are in zone.
func ParseSchedule(text string, zone *time.Location) (Schedule, error) {
	trigger, err := quartz.NewCronTriggerWithLoc(text, zone)
	fields := strings.Fields(text)
	if err == nil && len(fields) > 6 && fields[6] != "*" {
		// With years the library never returns from a search for a day that they do not have.
		err = fmt.Errorf("year %s: years are not supported", clip(fields[6]))
	}
	if err == nil {
		err = checkLists(fields)
	}
	if err != nil {
		why := err.Error()
		if i := strings.LastIndex(why, ": "); i >= 0 {
			why = why[i+2:]
		}
		return Schedule{}, fmt.Errorf("not a Quartz cron (%s); write six fields: second minute hour day month weekday, such as 0 0 6,18 * * ?", why)
	}
	return Schedule{text: text, zone: zone, trigger: trigger}, nil
}

// checkLists parses every element of every list alone: the library checks the
// bounds of a single value, but takes any number in a list.
func checkLists(fields []string) error {
	for i, field := range fields {
		elements := strings.Split(field, ",")
		if len(elements) == 1 {
			continue
		}
		for _, one := range elements {
			alone := strings.Fields("* * * ? * ? *")
			alone[i] = one
			if err := quartz.ValidateCronExpression(strings.Join(alone, " ")); err != nil {
				return err
			}
		}
	}
	return nil
}

// Next gives the first time after t at which the schedule fires, in t's zone;
// false when it never does. A day that a month does not have counts on into the next month:
// 29 February fires on 1 March where there is none.
func (s Schedule) Next(t time.Time) (time.Time, bool) {
	if s.trigger == nil {
		return time.Time{}, false
	}
	next, err := s.trigger.NextFireTime(t.UnixNano())
	if errors.Is(err, quartz.ErrTriggerExpired) {
		return time.Time{}, false
	}
	return time.Unix(0, next).In(t.Location()), true
}

// String gives the cron as it was written.
func (s Schedule) String() string { return s.text }

// Zone names the zone of the schedule's times, with its offset at now, such as
// "Asia/Shanghai +08:00". A zone that has no name, since it is the machine's, is "Local".
func (s Schedule) Zone(now time.Time) string {
	if s.zone == nil {
		return ""
	}
	return s.zone.String() + now.In(s.zone).Format(" -07:00")
}

// checkZone refuses a TZ that Go does not know and takes for UTC without a word.
func (l *loader) checkZone() {
	if l.opts.Zone != nil {
		return
	}
	for _, variable := range l.opts.Env {
		if name, zone, _ := strings.Cut(variable, "="); name == "TZ" {
			l.checkTZ(strings.TrimPrefix(zone, ":"))
		}
	}
}

func (l *loader) checkTZ(zone string) {
	var err error
	if strings.HasPrefix(zone, "/") {
		_, err = os.Stat(zone)
	} else {
		_, err = time.LoadLocation(zone)
	}
	if err != nil {
		l.mistakes.add(Origin{Kind: FromEnv, Name: "TZ"}, "time zone %q is not known, and deleteWhen is in it; write a name such as Asia/Shanghai or UTC", clip(zone))
	}
}

// Equal says whether both were written the same.
func (s Schedule) Equal(other Schedule) bool { return s.text == other.text }
