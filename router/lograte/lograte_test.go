package lograte

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestOneCauseIsLoggedSoManyTimesASecond(t *testing.T) {
	begin := time.Now()
	type step struct {
		after      time.Duration // since the beginning
		times      int
		allowed    int
		suppressed int // told with the first that is allowed
	}
	for name, steps := range map[string][]step{
		"the first ones are logged":            {{0, 3, 3, 0}},
		"no more than the bound at a moment":   {{0, 100, Lines, 0}},
		"those left out are told next":         {{0, 100, Lines, 0}, {Every, 1, 1, 100 - Lines}},
		"they are told once":                   {{0, 7, Lines, 0}, {Every, 2, 2, 2}, {2 * Every, 1, 1, 0}},
		"a bound across two seconds":           {{900 * time.Millisecond, Lines, Lines, 0}, {1100 * time.Millisecond, 10, 0, 0}},
		"what was logged first gives way":      {{0, 1, 1, 0}, {Every / 2, 9, Lines - 1, 0}, {Every, 9, 1, 9 - Lines + 1}},
		"a long silence saves up nothing":      {{0, 1, 1, 0}, {time.Hour, 100, Lines, 0}},
		"the end of the window is outside it":  {{0, Lines, Lines, 0}, {Every - 1, 1, 0, 0}, {Every, 1, 1, 1}},
		"a caller that read the clock earlier": {{Every, Lines, Lines, 0}, {0, 1, 0, 0}},
	} {
		var s Limit
		for i, step := range steps {
			allowed, told := 0, 0
			for range step.times {
				if ok, suppressed := s.Allow(begin.Add(step.after)); ok {
					allowed, told = allowed+1, told+suppressed
				} else if suppressed != 0 {
					t.Errorf("%s: step %d: %d told where nothing is logged", name, i, suppressed)
				}
			}
			if allowed != step.allowed || told != step.suppressed {
				t.Errorf("%s: step %d: %d allowed, %d told; want %d, %d", name, i, allowed, told, step.allowed, step.suppressed)
			}
		}
	}
}

func TestEveryLineIsLoggedOrCountedAsLeftOut(t *testing.T) {
	var s Limit
	var seen atomic.Int64
	var wait sync.WaitGroup
	begin := time.Now()
	for range 4 {
		wait.Go(func() {
			for i := range 1000 {
				if ok, suppressed := s.Allow(begin.Add(time.Duration(i) * 10 * time.Millisecond)); ok {
					seen.Add(1 + int64(suppressed))
				}
			}
		})
	}
	wait.Wait()
	if ok, suppressed := s.Allow(begin.Add(time.Hour)); !ok || seen.Load()+int64(suppressed) != 4000 {
		t.Fatalf("%v, %d seen and %d left out, want 4000", ok, seen.Load(), suppressed)
	}
}

func TestBoundingALogAllocatesNothing(t *testing.T) {
	var s Limit
	now := time.Now()
	if n := testing.AllocsPerRun(100, func() { s.Allow(now) }); n > 0 {
		t.Fatalf("%v allocations", n)
	}
}
