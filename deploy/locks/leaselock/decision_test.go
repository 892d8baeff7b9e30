package leaselock

import (
	"errors"
	"strings"
	"testing"
	"time"

	coordination "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gridrouter.io/deploy/locks"
)

func TestALeaseIsFreeIfItDidNotChangeForItsTimeAsSeenFromHere(t *testing.T) {
	seen := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	f := func(holder string, seconds int32, after time.Duration, from time.Time, free bool) {
		t.Helper()
		spec := coordination.LeaseSpec{HolderIdentity: &holder, LeaseDurationSeconds: &seconds}
		if seconds == 0 {
			spec.LeaseDurationSeconds = nil
		}
		// What clocks elsewhere say counts for nothing.
		for _, renewed := range []time.Time{{}, seen.Add(-100 * time.Hour), seen.Add(100 * time.Hour)} {
			at := metav1.NewMicroTime(renewed)
			spec.RenewTime = &at
			if gotFrom, got := freeFrom(spec, seen, seen.Add(after)); got != free || !gotFrom.Equal(from) {
				t.Errorf("held by %q for %d s, %s after it was seen: free %v from %s", holder, seconds, after, got, gotFrom)
			}
		}
	}
	f("a", 10, 0, seen.Add(10*time.Second), false)
	f("a", 10, 10*time.Second-1, seen.Add(10*time.Second), false)
	f("a", 10, 10*time.Second, seen.Add(10*time.Second), true)
	f("", 10, 0, seen, true)
	f("", 0, 0, seen, true)
	f("a", 0, time.Hour, time.Time{}, false)
}

func TestTimesAreRoundedUpToSeconds(t *testing.T) {
	for ttl, want := range map[time.Duration]int32{1: 1, time.Second: 1, time.Second + 1: 2, time.Hour: 3600, 1 << 62: 1<<31 - 1} {
		var spec coordination.LeaseSpec
		hold(&spec, "a", ttl)
		if *spec.LeaseDurationSeconds != want {
			t.Errorf("%s: %d s", ttl, *spec.LeaseDurationSeconds)
		}
	}
}

func TestAnObjectRefusesAFormerHolding(t *testing.T) {
	f := func(mark string, fence int64, says string) {
		t.Helper()
		object := &metav1.ObjectMeta{Name: "o", ResourceVersion: "5", Annotations: map[string]string{"other": "x"}}
		if mark != "" {
			object.Annotations["locks.gridrouter.io/job"] = mark
		}
		before := object.Annotations
		err := Guard(object, locks.Token{Name: "job", Fence: fence})
		if says == "" {
			if err != nil || object.Annotations["locks.gridrouter.io/job"] != "7" || object.Annotations["other"] != "x" || before["locks.gridrouter.io/job"] != mark {
				t.Errorf("mark %q, fence %d: %v, %v", mark, fence, err, object.Annotations)
			}
			return
		}
		if err == nil || !strings.Contains(err.Error(), says) || errors.Is(err, locks.ErrLost) != (says == "the lock is lost") {
			t.Errorf("mark %q, fence %d: %v", mark, fence, err)
		}
	}
	f("", 7, "")
	f("6", 7, "")
	f("7", 7, "")
	f("8", 7, "the lock is lost")
	f("eight", 7, "annotation locks.gridrouter.io/job of o")
	f("", 0, "needs its resourceVersion and the token")
	if err := Guard(&metav1.ObjectMeta{Name: "o"}, locks.Token{Name: "job", Fence: 7}); err == nil {
		t.Error("a write without a resourceVersion is guarded by nothing")
	}
}
