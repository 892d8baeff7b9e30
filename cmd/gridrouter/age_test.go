package main

import (
	"testing"
	"time"
)

// TestAnAgeAcrossARestartIsCheckedForSense has the wall clock stand before the writing.
func TestAnAgeAcrossARestartIsCheckedForSense(t *testing.T) {
	now := time.Now()
	for written, want := range map[time.Time]time.Duration{now: 0, now.Add(-time.Hour): time.Hour, now.Add(time.Hour): 0, now.Add(24 * 365 * time.Hour): 0} {
		if got := ageOf(written, now); got != want {
			t.Errorf("written at %v: %v, want %v", written, got, want)
		}
	}
}
