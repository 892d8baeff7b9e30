package gslb

import (
	"net/netip"
	"testing"
	"time"
)

// TestRememberedAnswersAreUsedUntilThereAreBetterOnes gives a resolver what an earlier process knew.
func TestRememberedAnswersAreUsedUntilThereAreBetterOnes(t *testing.T) {
	r, err := NewResolver(ResolverConfig{Name: "gslb", Servers: []string{"127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	address := []netip.Addr{netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("10.0.0.1")}
	r.Remember([]Remembered{
		{Name: "good.example", Addresses: address, Good: now.Add(-time.Hour), TTL: time.Minute},
		{Name: "ahead.example", Addresses: address[:1], Good: now.Add(time.Hour), TTL: time.Minute},
		{Name: "old.example", Addresses: address, Good: now.Add(-DefaultStaleFor - time.Hour), TTL: time.Minute},
		{Name: "none.example", Good: now, TTL: time.Minute},
		{Name: "forgotten.example", Addresses: address, Good: now, TTL: time.Minute},
	})
	r.Track([]string{"Good.example.", "ahead.example", "old.example", "none.example", "new.example"})
	f := func(name string, count int, tried bool) {
		t.Helper()
		if got, gotTried := r.Lookup(name); len(got) != count || gotTried != tried {
			t.Errorf("%s: %v, tried %v; want %d, %v", name, got, gotTried, count, tried)
		}
	}
	f("good.example", 3, true)
	f("ahead.example", 1, true)
	f("old.example", 0, false)
	f("none.example", 0, false)
	f("new.example", 0, false)
	f("forgotten.example", 0, false)
	for _, status := range r.Status() {
		if status.Name == "good.example" && (!status.Stale || status.AgeSeconds < 3599 || status.LastError == "") {
			t.Errorf("told %+v", status)
		}
	}
	known := r.Known()
	if len(known) != 2 {
		t.Fatalf("known are %+v", known)
	}
	again, err := NewResolver(ResolverConfig{Name: "gslb", Servers: []string{"127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	again.Remember(known)
	again.Track([]string{"good.example"})
	if got, tried := again.Lookup("good.example"); len(got) != 3 || !tried {
		t.Errorf("after another start: %v, %v", got, tried)
	}
	again.Track(nil)
	again.Track([]string{"good.example"})
	if got, tried := again.Lookup("good.example"); len(got) != 0 || tried {
		t.Errorf("a name that comes back later begins with %v", got)
	}
}
