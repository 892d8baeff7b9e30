package maintain

import (
	"fmt"
	"regexp"
	"time"

	"github.com/robfig/cron/v3"
)

// Schedule is when something is done again and again.
type Schedule struct{ times cron.Schedule }

// fields is the form of a schedule. Names of zones and words such as @daily, which the parser knows too, do not have it.
var fields = regexp.MustCompile(`^[0-9A-Za-z*,/-]+( [0-9A-Za-z*,/-]+){4}$`)

// longest is how many characters a schedule may have.
const longest = 100

// ParseSchedule reads five fields of cron, in UTC: minute, hour, day of the month, month, day of the week. A time that
// never comes is refused.
func ParseSchedule(text string) (Schedule, error) {
	if len(text) > longest || !fields.MatchString(text) {
		return Schedule{}, fmt.Errorf("%.40q has not the form of five fields of cron with one space between them: write one such as \"30 3 * * *\"", text)
	}
	times, err := cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow).Parse(text)
	if err != nil {
		return Schedule{}, fmt.Errorf("%q cannot be read: %w; write one such as \"30 3 * * *\"", text, err)
	}
	s := Schedule{times: times}
	if s.Next(time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return Schedule{}, fmt.Errorf("%q never comes: no month has that day; write one such as \"30 3 * * *\"", text)
	}
	return s, nil
}

// Next is the first time after another one; zero: there is none within five years.
func (s Schedule) Next(after time.Time) time.Time { return s.times.Next(after.UTC()) }

// Due says which time is the next, and whether it has come. next is the one that was told before, zero if none was;
// changed says that the schedule may be another one since. What was missed is due once, however often it was missed.
// What is due is so until the caller tells the time after it.
func (s Schedule) Due(next time.Time, changed bool, now time.Time) (time.Time, bool) {
	switch {
	case next.IsZero(), changed && next.After(now):
		return s.Next(now), false
	case next.After(now) && !s.Next(next.Add(-time.Second)).Equal(next):
		return s.Next(now), false // it is of another schedule
	}
	return next, !next.After(now)
}
