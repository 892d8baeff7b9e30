package locks_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gridrouter.io/deploy/locks"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What a lock does is tested with the real providers, in etcdlock and leaselock.

func TestWhatNoProviderCouldKeepIsRefused(t *testing.T) {
	f := func(says, name string, atMost, atLeast time.Duration) {
		t.Helper()
		lock, err := locks.New(nil, "a").Lock(t.Context(), name, atMost, atLeast)
		if lock != nil || err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q, %s, %s: %v", name, atMost, atLeast, err)
		}
	}
	for _, name := range []string{"", "Backup", "a/b", "-a", "a-", "ä", strings.Repeat("a", 64)} {
		f("a name has at most 63", name, time.Second, 0)
	}
	f("do not fit", "a", 0, 0)
	f("do not fit", "a", -1, -1)
	f("do not fit", "a", time.Second, -1)
	f("do not fit", "a", time.Second, 2*time.Second)
}

func TestTheErrorNamesTheHolderAndUntilWhen(t *testing.T) {
	var err error = &locks.HeldError{Name: "backup", Holder: "pod-1", Until: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)}
	if err.Error() != "lock backup is held by pod-1 until 2030-01-02T03:04:05Z" {
		t.Error(err)
	}
	err = &locks.HeldError{Name: "backup", Holder: "pod-1"}
	if err.Error() != "lock backup is held by pod-1" || errors.Is(err, locks.ErrLost) {
		t.Error(err)
	}
}
