package pki

import (
	"maps"
	"strings"
	"testing"
	"time"
)

const year = 365 * 24 * time.Hour

func TestCertificatesAreRenewedBeforeTheirEnd(t *testing.T) {
	f := func(before, after time.Duration, renewed bool) {
		t.Helper()
		wanted := three()
		wanted.RotateBefore = before
		w := newWorld(t, wanted)
		w.settle()
		old := maps.Clone(w.has)
		w.now = start.Add(after)
		_, whys := w.settle()
		if (len(whys) > 0) != renewed || renewed && (len(whys) != 5 || !strings.Contains(whys[0], "it ends on 2028-02-29T12:00:00Z")) {
			t.Errorf("after %s with %s: %q", after, before, whys)
		}
		leaf := w.leaf("edge.member.edge-0")
		if renewed && !leaf.NotAfter.Equal(w.now.Add(lifeOfLeaf)) || !sameData(old["edge.ca"], w.has["edge.ca"]) {
			t.Errorf("after %s it ends on %s", after, leaf.NotAfter)
		}
		if err := verify(w.now, leaf, old["edge.user.root"][TrustKey]); err != nil {
			t.Error(err)
		}
	}
	f(0, year-DefaultRotateBefore, false)
	f(0, year-DefaultRotateBefore+time.Second, true)
	f(MinRotateBefore, year-time.Hour, false)
	f(MinRotateBefore, year-time.Hour+time.Second, true)
	f(MaxRotateBefore, year/2, false)
	f(MaxRotateBefore, year/2+time.Second, true)
	f(0, year+time.Hour, true)
	f(0, 7*year, true)
}

func TestNextIsWhenSomethingChanges(t *testing.T) {
	w := newWorld(t, three())
	f := func(now time.Time, want time.Duration) {
		t.Helper()
		w.now = now
		if p, _ := w.settle(); p.Next.Sub(now) != want {
			t.Errorf("at %s it looks again in %s, want %s", now, p.Next.Sub(now), want)
		}
	}
	f(start, latest)
	f(start.Add(year-DefaultRotateBefore-time.Hour), time.Hour+time.Second)
	f(start.Add(year-DefaultRotateBefore+time.Second), latest) // renewed
	w.wanted.RenewCA = w.now.Add(time.Minute)
	f(w.now, time.Minute)
	w.runs()
	f(w.now.Add(2*time.Minute), soon) // rotates
	if p := w.plan(); p.Waiting == "" {
		t.Errorf("%+v", p)
	}
}

// A clock here is wrong for a while. What is made meanwhile must be good where the clock is right, and it must
// not be made again and again.
func TestAClockThatJumpsBreaksNothing(t *testing.T) {
	f := func(after, jump time.Duration) {
		t.Helper()
		w := newWorld(t, three())
		w.settle()
		w.now = start.Add(after)
		w.settle()
		w.runs()
		right := w.now
		for range 4 {
			for _, at := range []time.Time{right.Add(jump), right} {
				w.now = at
				p, whys := w.settle()
				if len(whys) > 11 { // what is late, a new CA, and the bundles with it
					t.Errorf("after a jump by %s: %q", jump, whys)
				}
				for _, restarts := range p.NeedsRestart() {
					for i := range w.running {
						if w.running[i].Name == restarts.Name {
							w.running[i].Bundle = p.Bundle
						}
					}
				}
				for _, q := range w.running {
					if err := verify(right, w.leaf(q.Secret), w.has[q.Secret][TrustKey]); err != nil {
						t.Errorf("after a jump by %s, at %s: %v", jump, at, err)
					}
				}
			}
		}
		w.now = right
		if _, whys := w.settle(); len(whys) > 0 {
			t.Errorf("after a jump by %s it goes on: %q", jump, whys)
		}
	}
	for _, after := range []time.Duration{0, time.Minute, 100 * 24 * time.Hour, 3 * year} {
		for _, jump := range []time.Duration{
			time.Minute, 10 * time.Minute, time.Hour, 340 * 24 * time.Hour, 2 * year, 7 * year,
			-time.Minute, -10 * time.Minute, -time.Hour, -200 * 24 * time.Hour, -2 * year, -7 * year, -57 * year,
		} {
			f(after, jump)
		}
	}
}

func TestACAMadeUnderAWrongClockIsReplaced(t *testing.T) {
	w := newWorld(t, three())
	w.now = start.Add(3 * year)
	w.settle()
	w.now = start
	for range 4 {
		w.runs()
		w.settle()
	}
	for _, h := range w.wanted.holders() {
		if err := verify(start, w.leaf(h.secret), w.has[h.secret][TrustKey]); err != nil {
			t.Error(err)
		}
	}
	if _, there := w.has["edge.ca"][previousCA]; there {
		t.Error("the former CA is trusted still")
	}
}

func TestCertificatesDoNotOutliveTheirCA(t *testing.T) {
	w := newWorld(t, three())
	w.settle()
	w.runs() // and nobody ever takes a new bundle
	for at := time.Duration(0); at < 11*year; at += 29 * 24 * time.Hour {
		w.now = start.Add(at)
		p, whys := w.settle()
		if leaf := w.leaf("edge.user.root"); leaf.NotAfter.After(start.Add(lifeOfCA)) {
			t.Fatalf("after %s it ends on %s", at, leaf.NotAfter)
		}
		if at > lifeOfCA-100*24*time.Hour && len(whys) > 0 {
			t.Errorf("after %s, with nothing to gain: %q", at, whys)
		}
		if late := at > lifeOfCA; late && p.Waiting == "" || at <= lifeOfCA && p.TrustLost {
			t.Errorf("after %s: waiting %q, trust lost %v", at, p.Waiting, p.TrustLost)
		}
	}
}

func TestANewCAThatWaitedForTooLongIsReplaced(t *testing.T) {
	w := newWorld(t, three())
	w.settle()
	w.runs()
	w.now = start.Add(time.Hour)
	w.wanted.RenewCA = w.now
	w.settle()
	w.now = start.Add(11 * year)
	p, whys := w.settle()
	if len(whys) != 6 || whys[0] != "edge.ca: the new CA is out of its time: another was made" || p.TrustLost || p.Waiting == "" {
		t.Errorf("%q %+v", whys, p)
	}
}

func TestNoCertificateIsMadeThatWouldBeNoBetter(t *testing.T) {
	w := newWorld(t, three())
	w.settle()
	w.runs()
	w.now = start.Add(-2 * year)
	if _, whys := w.settle(); len(whys) != 6 || !strings.HasPrefix(whys[0], "edge.ca: the CA begins only on") {
		t.Errorf("%q", whys)
	}
}
