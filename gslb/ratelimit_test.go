package gslb

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// admitted returns how many of n answers to source pass, and how many are sent truncated.
func admitted(l *limiter, source string, n int) (passed, slipped int) {
	for range n {
		switch l.admit(netip.MustParseAddr(source)) {
		case pass:
			passed++
		case slip:
			slipped++
		case drop:
		}
	}
	return passed, slipped
}

func TestBudgetsRunOutAndFillUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(100)
		f := func(source string, n, wantPassed, wantSlipped int) {
			t.Helper()
			if passed, slipped := admitted(l, source, n); passed != wantPassed || slipped != wantSlipped {
				t.Errorf("%d answers to %s: %d pass, %d truncated; want %d and %d", n, source, passed, slipped, wantPassed, wantSlipped)
			}
		}
		f("192.0.2.1", 300, 200, 50)
		f("192.0.2.99", 10, 0, 5) // the same /24
		f("::ffff:192.0.2.7", 10, 0, 5)
		f("192.0.3.1", 10, 10, 0) // another
		f("2001:db8::1", 300, 200, 50)
		f("2001:db8:0:ff::1", 10, 0, 5) // the same /56
		f("2001:db8:0:100::1", 10, 10, 0)
		time.Sleep(500 * time.Millisecond)
		f("192.0.2.1", 100, 50, 25)
		time.Sleep(time.Hour)
		f("192.0.2.1", 300, 200, 50) // never more than at first
	})
}

func TestBudgetsTakeBoundedMemory(t *testing.T) {
	l := newLimiter(1)
	for i := range 3 * maxSources {
		l.admit(netip.AddrFrom4([4]byte{byte(i >> 16), byte(i >> 8), byte(i), 1}))
		l.admit(netip.AddrFrom4([4]byte{byte(i >> 8), byte(i), byte(i >> 16), 1}))
	}
	if n := l.budgets.Len(); n > maxSources {
		t.Errorf("%d budgets; want at most %d", n, maxSources)
	}
	if l.admit(netip.Addr{}) != pass {
		t.Error("a source without an address has no budget")
	}
}

func TestNoLimitLetsEverythingPass(t *testing.T) {
	if passed, _ := admitted(nil, "192.0.2.1", 1000); passed != 1000 {
		t.Errorf("%d of 1000 pass", passed)
	}
}
