package maintain_test

import (
	"strings"
	"testing"
	"time"

	"gridrouter.io/deploy/operator/etcd/maintain"
)

func at(t *testing.T, text string) time.Time {
	t.Helper()
	when, err := time.Parse("2006-01-02 15:04:05", text)
	if err != nil {
		t.Fatal(err)
	}
	return when
}

func TestASchedulesTimesAreOfUTC(t *testing.T) {
	f := func(schedule, after, want string) {
		t.Helper()
		s, err := maintain.ParseSchedule(schedule)
		if err != nil {
			t.Fatal(err)
		}
		from := at(t, after).In(time.FixedZone("east", 5*3600))
		if got := s.Next(from); !got.Equal(at(t, want)) {
			t.Errorf("%q after %s is %s, not %s", schedule, after, got.UTC(), want)
		}
	}
	f("30 3 * * *", "2026-03-01 03:29:59", "2026-03-01 03:30:00")
	f("30 3 * * *", "2026-03-01 03:30:00", "2026-03-02 03:30:00")
	f("*/10 * * * *", "2026-03-01 03:31:00", "2026-03-01 03:40:00")
	f("0 2 * * SUN", "2026-03-02 00:00:00", "2026-03-08 02:00:00")
	f("0 2 * * 1-5", "2026-03-06 03:00:00", "2026-03-09 02:00:00")
	f("15 4 29 feb *", "2026-03-06 03:00:00", "2028-02-29 04:15:00")
}

func TestAScheduleThatCannotBeIsRefusedWithTheMend(t *testing.T) {
	f := func(schedule, want string) {
		t.Helper()
		if _, err := maintain.ParseSchedule(schedule); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), `write one such as "30 3 * * *"`) {
			t.Errorf("%q gives %v, not %s", schedule, err, want)
		}
	}
	f("", "has not the form of five fields")
	f("@daily", "has not the form of five fields")
	f("@every 1s", "has not the form of five fields")
	f("TZ=UTC 30 3 * * *", "has not the form of five fields")
	f("30 3 * *", "has not the form of five fields")
	f("0 30 3 * * *", "has not the form of five fields")
	f("30  3 * * *", "has not the form of five fields")
	f("30 3 * * "+strings.Repeat("1", 100), "has not the form of five fields")
	f("60 3 * * *", "cannot be read")
	f("*/0 3 * * *", "cannot be read")
	f("30 3 * foo *", "cannot be read")
	f("30 3 30 2 *", "never comes")
}

func TestATimeThatWasMissedIsDueOnce(t *testing.T) {
	s, err := maintain.ParseSchedule("30 3 * * *")
	if err != nil {
		t.Fatal(err)
	}
	f := func(next string, changed bool, now, wantNext string, wantDue bool) {
		t.Helper()
		var before time.Time
		if next != "" {
			before = at(t, next)
		}
		got, due := s.Due(before, changed, at(t, now))
		if !got.Equal(at(t, wantNext)) || due != wantDue {
			t.Errorf("%s at %s: %s, %t, not %s, %t", next, now, got, due, wantNext, wantDue)
		}
	}
	f("", false, "2026-03-01 12:00:00", "2026-03-02 03:30:00", false) // new: it is not made up
	f("2026-03-02 03:30:00", false, "2026-03-02 03:29:59", "2026-03-02 03:30:00", false)
	f("2026-03-02 03:30:00", false, "2026-03-02 03:30:00", "2026-03-02 03:30:00", true)
	f("2026-03-02 03:30:00", false, "2026-03-07 12:00:00", "2026-03-02 03:30:00", true)  // days later, once
	f("", false, "2026-03-07 12:00:00", "2026-03-08 03:30:00", false)                    // after it was done
	f("2026-03-02 04:00:00", false, "2026-03-01 12:00:00", "2026-03-02 03:30:00", false) // of another schedule
	f("2026-03-09 03:30:00", true, "2026-03-01 12:00:00", "2026-03-02 03:30:00", false)
	f("2026-03-02 04:00:00", true, "2026-03-02 12:00:00", "2026-03-02 04:00:00", true) // what was missed stays so
}

func FuzzParseSchedule(f *testing.F) {
	for _, seed := range []string{"30 3 * * *", "*/5 1-3,7 ? JAN-DEC/2 0-6", "TZ= * * * *", "@every 1h", "* * 31 2 *", "1-99999999999999999999 * * * *", "*/999999999 * * * *"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := maintain.ParseSchedule(text)
		if err != nil {
			return
		}
		now := time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)
		next := s.Next(now)
		if next.IsZero() {
			return // it came in 2025 and comes no more within five years
		}
		if !next.After(now) || next.Second() != 0 || next.Location() != time.UTC || !s.Next(next.Add(-time.Second)).Equal(next) {
			t.Errorf("%q comes at %s", text, next)
		}
	})
}
