package pki

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// at brings a cluster to a moment of a rotation: "rest", "made" (all Secrets have the new CA, nobody has read
// them), "trusted" (half have), "signs" (the new CA signs, half show that).
func at(t *testing.T, moment string) *chaos {
	c := newChaos(t, 1)
	half := func(do func(*process)) {
		for i, p := range c.processes {
			if i%2 == 0 {
				do(p)
			}
		}
	}
	if moment == "rest" {
		return c
	}
	c.now = c.now.Add(time.Hour)
	c.wanted.RenewCA = c.now
	c.finish()
	if moment == "made" {
		return c
	}
	restart := func(p *process) { p.trust = c.has[p.secret][TrustKey] }
	half(restart)
	if moment == "trusted" {
		return c
	}
	for _, p := range c.processes {
		restart(p)
	}
	c.finish()
	half(func(p *process) { p.shown = c.has[p.secret] })
	return c
}

// finish writes all that is to be written at once.
func (c *chaos) finish() (writes int) {
	c.t.Helper()
	for range 20 {
		plan := c.operate()
		if len(plan.Writes) == 0 {
			return writes
		}
		for _, w := range plan.Writes {
			c.has[w.Secret] = plan.Secrets[w.Secret]
			writes++
		}
		c.trusting()
	}
	c.t.Fatal("it writes again and again")
	return 0
}

// Whatever becomes of the Secret of the CA, in whatever moment: those who run go on trusting each other, and in the
// end one CA signs.
func TestADamagedCABreaksNothing(t *testing.T) {
	for _, moment := range []string{"rest", "made", "trusted", "signs"} {
		for _, key := range []string{"", TrustKey, caKey, nextCert, nextKey, previousCA} {
			for _, with := range [][]byte{nil, []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")} {
				t.Run(fmt.Sprintf("%s/%s/%.10q", moment, key, with), func(t *testing.T) {
					c := at(t, moment)
					ca := c.wanted.CASecret()
					if _, there := c.has[ca][key]; key == "" {
						delete(c.has, ca)
					} else if there {
						c.change(ca, key, with)
					}
					c.trusting()
					c.finish()
					c.trusting()
					for range 10 {
						c.follow()
						c.trusting()
						c.finish()
					}
					c.calm()
				})
			}
		}
	}
}

func TestCAsOfOthersAreNotTaken(t *testing.T) {
	w, other := newWorld(t, three()), newWorld(t, three())
	w.settle()
	other.settle()
	user, member := "edge.user.fleet", "edge.member.edge-0"
	trusted := func(secret string) bool {
		return strings.Contains(string(w.has["edge.user.root"][TrustKey]), string(other.has[secret][TrustKey]))
	}
	w.has[user] = other.has[user]
	if w.settle(); trusted(user) {
		t.Error("the CA of another is trusted, since a user's Secret has it")
	}
	w.has[member] = other.has[member]
	if w.settle(); trusted(member) {
		t.Error("the CA of another is trusted, since a member's Secret has it")
	}
	w.has[user] = other.has[user]
	delete(w.has, "edge.ca")
	if w.settle(); trusted(user) {
		t.Error("the CA of another is trusted, since a user's Secret has it and our own is lost")
	}
}

func TestWhatIsMissingUnderAnEndedCAIsMadeOnce(t *testing.T) {
	w := newWorld(t, three())
	w.settle()
	w.runs() // and nobody reads anything
	w.now = start.Add(lifeOfCA + time.Hour)
	delete(w.has, "edge.user.fleet")
	p, whys := w.settle()
	if len(p.Writes) > 0 || p.Waiting == "" || len(p.NeedsRestart()) != 5 {
		t.Errorf("%q %+v", whys, p)
	}
	delete(w.has, "edge.user.fleet")
	if _, whys := w.settle(); len(whys) != 1 {
		t.Errorf("%q", whys)
	}
	if err := verify(w.now, w.leaf("edge.user.fleet"), w.has["edge.user.fleet"][TrustKey]); err != nil {
		t.Error(err)
	}
}

func TestARotationWaitsForThoseOfWhomNothingIsKnown(t *testing.T) {
	w := newWorld(t, three())
	w.settle()
	w.runs()
	w.now = w.now.Add(time.Hour)
	w.wanted.RenewCA = w.now
	for range 9 {
		w.running = append(w.running, Process{Name: fmt.Sprintf("unknown-%d", len(w.running)), Secret: "edge.user.fleet"})
	}
	p, _ := w.settle()
	if want := "waits until these trust the new CA: member edge-0, member edge-1, member edge-2, unknown-10, unknown-11 and 9 more"; p.Waiting != want {
		t.Errorf("%q, want %q", p.Waiting, want)
	}
	if n := len(p.NeedsRestart()); n != 14 {
		t.Errorf("%d need a restart", n)
	}
	known := slices.Clone(w.running)
	w.runs()
	known = append(w.running, known[5:]...)
	w.running = known[:6]
	if p, _ := w.settle(); p.Waiting != "waits until these trust the new CA: unknown-5" {
		t.Errorf("%q", p.Waiting)
	}
	w.running = known[:5]
	if p, _ := w.settle(); p.Waiting == "" || !strings.HasPrefix(p.Waiting, "waits until these show a certificate of the new CA") {
		t.Errorf("%q", p.Waiting)
	}
	w.running = nil // nobody runs, nobody is waited for
	p, _ = w.settle()
	if certs, _ := readCerts(w.has["edge.user.root"][TrustKey]); len(certs) != 1 || p.Waiting != "" {
		t.Errorf("%d CAs are trusted, %q", len(certs), p.Waiting)
	}
}

func TestAnOlderSecretOfTheCAIsPutBack(t *testing.T) {
	c := newChaos(t, 1)
	older := c.has[c.wanted.CASecret()]
	c.now = c.now.Add(time.Hour)
	c.wanted.RenewCA = c.now
	c.calm()
	c.has[c.wanted.CASecret()] = older
	c.wanted.RenewCA = time.Time{}
	c.finish()
	if data := c.has[c.wanted.CASecret()]; len(data[caKey]) > 0 || len(data[nextKey]) == 0 {
		t.Error("a CA signs that nobody trusts")
	}
	for range 10 {
		c.follow()
		c.trusting()
		c.finish()
	}
	c.calm()
}

func TestTheKeyOfTheCAAndAllBundlesAreLost(t *testing.T) {
	c := newChaos(t, 1)
	c.change(c.wanted.CASecret(), caKey, nil)
	for _, h := range c.wanted.holders() {
		c.change(h.secret, TrustKey, nil)
	}
	for range 10 {
		c.finish()
		c.follow()
		c.trusting()
	}
	c.calm()
}
