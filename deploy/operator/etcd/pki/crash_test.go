package pki

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// process is one of the simulation: what it trusts and shows lags behind its Secret.
type process struct {
	name, secret string
	trust        []byte // as a member at its start
	shown        Data   // as a member whenever it is asked
}

// chaos is a cluster in which everything is late: writes, restarts, what the operator sees.
type chaos struct {
	*world
	random    *rand.Rand
	source    *rand.ChaCha8
	processes []*process
	log       []string
	verified  map[string]error // by certificate, trust and time; most pairs are asked for again and again
}

func (c *chaos) start(secret string) {
	data := c.has[secret]
	c.processes = append(c.processes, &process{
		name: fmt.Sprintf("%s#%d", secret, len(c.log)), secret: secret, trust: data[TrustKey], shown: data,
	})
}

// operate makes a plan and writes some of it: none, a part, or all.
func (c *chaos) operate() Plan {
	c.t.Helper()
	c.running = nil
	for _, p := range c.processes {
		cert, _, _ := readPair(p.shown[CertKey], p.shown[PrivateKey])
		c.running = append(c.running, Process{Name: p.name, Secret: p.secret, Bundle: BundleID(p.trust), Issuer: IssuerID(cert)})
	}
	plan, err := Desired(c.now, c.source, c.has, c.running, c.wanted)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, w := range plan.Writes[:c.random.IntN(len(plan.Writes)+1)] {
		c.has[w.Secret] = plan.Secrets[w.Secret]
		c.log = append(c.log, w.Secret+": "+w.Why)
	}
	return plan
}

// follow has a process go on: it reads its certificate again, or is restarted, or ends for another in its place.
func (c *chaos) follow() {
	p := c.processes[c.random.IntN(len(c.processes))]
	data := c.has[p.secret]
	cert, _, err := readPair(data[CertKey], data[PrivateKey])
	if err != nil || BundleID(data[TrustKey]) == "" || verify(c.now, cert, data[TrustKey]) != nil {
		return // damaged: it would not start, or goes on with what it has
	}
	p.shown = data
	if c.random.IntN(2) == 0 {
		p.trust = data[TrustKey]
		c.log = append(c.log, "restart of "+p.name)
	}
}

// trusting says that any two processes let each other in.
func (c *chaos) trusting() {
	c.t.Helper()
	for _, a := range c.processes {
		cert, _, err := readPair(a.shown[CertKey], a.shown[PrivateKey])
		if err != nil {
			c.t.Fatal(err)
		}
		for _, b := range c.processes {
			what := c.now.String() + string(cert.Raw) + string(b.trust)
			err, known := c.verified[what]
			if !known {
				err = verify(c.now, cert, b.trust)
				c.verified[what] = err
			}
			if err != nil {
				c.t.Fatalf("%s does not trust %s: %v\n%s", b.name, a.name, err, strings.Join(last(c.log, 40), "\n"))
			}
		}
	}
}

func last(lines []string, n int) []string { return lines[max(0, len(lines)-n):] }

func newChaos(t *testing.T, seed uint64) *chaos {
	key := [32]byte{byte(seed), byte(seed >> 8)}
	c := &chaos{
		world: newWorld(t, three()), random: rand.New(rand.NewPCG(seed, 1)), source: rand.NewChaCha8(key), verified: map[string]error{},
	}
	c.settle()
	for _, h := range c.wanted.holders() {
		c.start(h.secret)
	}
	c.log = append(c.log, "another router")
	c.start(c.wanted.UserSecret("fleet")) // two routers with one Secret
	return c
}

// calm has everyone do what is to be done, and asks for the end of it.
func (c *chaos) calm() {
	c.t.Helper()
	for range 500 { // each writes a part
		plan := c.operate()
		for _, p := range c.processes {
			p.shown = c.has[p.secret]
		}
		for _, q := range plan.NeedsRestart() {
			for _, p := range c.processes {
				if p.name == q.Name {
					p.trust = c.has[p.secret][TrustKey]
				}
			}
		}
		c.trusting()
		if len(plan.Writes) == 0 && plan.Waiting == "" && len(plan.NeedsRestart()) == 0 {
			if trusted, err := readCerts(c.has[c.wanted.UserSecret(Root)][TrustKey]); len(trusted) != 1 || err != nil {
				c.t.Errorf("in the end %d CAs are trusted, %v", len(trusted), err)
			}
			return
		}
	}
	c.t.Fatalf("it does not come to rest:\n%s", strings.Join(last(c.log, 60), "\n"))
}

// The operator ends between any two writes, processes read late, Secrets are lost and damaged, certificates and CAs
// end: whoever runs is trusted by all who run, at every moment.
func TestAllTrustEachOtherWhateverIsLate(t *testing.T) {
	rotations := 0
	for seed := range uint64(6) {
		c := newChaos(t, seed)
		for range 300 {
			switch dice := c.random.IntN(100); {
			case dice < 40:
				c.operate()
			case dice < 92:
				c.follow()
			case dice < 94:
				c.wanted.RenewCA = c.now
			case dice < 96:
				c.advance()
			default:
				c.damage()
			}
			c.trusting()
		}
		c.calm()
		for _, line := range c.log {
			if strings.Contains(line, "all trust the new CA") {
				rotations++
			}
		}
	}
	if rotations < 6 {
		t.Errorf("only %d rotations were tried", rotations)
	}
	t.Logf("%d rotations", rotations)
}

// advance lets time go on, but not over the end of a certificate that someone shows: who does not read its Secret
// for so long cannot be helped.
func (c *chaos) advance() {
	to := c.now.Add(time.Duration(c.random.IntN(20*24)) * time.Hour)
	for _, p := range c.processes {
		if cert, _, _ := readPair(p.shown[CertKey], p.shown[PrivateKey]); to.After(cert.NotAfter.Add(-time.Hour)) {
			return
		}
	}
	c.now = to
}

// damage spoils a value of a Secret, or takes a Secret away. Not two at once: where the CA is known to nobody any
// more, nothing can be done.
func (c *chaos) damage() {
	c.running = nil
	if p := c.plan(); len(p.Writes) > 0 {
		return
	}
	secret := slices.Sorted(maps.Keys(c.has))[c.random.IntN(len(c.has))]
	data := maps.Clone(c.has[secret])
	keys := slices.Sorted(maps.Keys(data))
	key := keys[c.random.IntN(len(keys))]
	switch c.random.IntN(4) {
	case 0:
		delete(c.has, secret)
		c.log = append(c.log, "loss of "+secret)
		return
	case 1:
		data[key] = nil
	case 2:
		data[key] = data[key][:c.random.IntN(len(data[key]))]
	default:
		data[key] = slices.Clone(data[key])
		data[key][c.random.IntN(len(data[key]))] ^= 1
	}
	c.has[secret] = data
	c.log = append(c.log, "damage of "+secret+" "+key)
}
