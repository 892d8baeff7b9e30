package lab_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gridrouter.io/bench/lab"
)

// TestE2ECampaign lives through random faults of etcd, of DNS and of routers, and random odd
// documents, with traffic, and holds every answer and every acknowledged write against a
// model. After each fault the grid must agree again, or say that it does not; then the fault
// is settled as a person would. GRIDROUTER_CAMPAIGN_ROUNDS is how many faults there are, by
// default each kind once; GRIDROUTER_CAMPAIGN_SEED repeats a campaign's choices, and
// GRIDROUTER_CAMPAIGN_ONLY keeps to kinds whose names hold one of its words, parted by commas.
func TestE2ECampaign(t *testing.T) {
	if testing.Short() {
		t.Skip("whole grids take a while")
	}
	kinds := slices.DeleteFunc(campaignFaults(), func(kind campaignFault) bool {
		only := os.Getenv("GRIDROUTER_CAMPAIGN_ONLY")
		return only != "" && !slices.ContainsFunc(strings.Split(only, ","), func(word string) bool { return strings.Contains(kind.name, word) })
	})
	rounds := int(campaignSetting(t, "GRIDROUTER_CAMPAIGN_ROUNDS", uint64(len(kinds))))
	seed := campaignSetting(t, "GRIDROUTER_CAMPAIGN_SEED", rand.Uint64()>>32)
	t.Logf("GRIDROUTER_CAMPAIGN_SEED=%d GRIDROUTER_CAMPAIGN_ROUNDS=%d", seed, rounds)
	c := startCampaign(t, seed)
	order := c.rng.Perm(len(kinds))
	for round := range rounds {
		kind := kinds[order[round%len(order)]]
		if round >= len(kinds) {
			kind = kinds[c.rng.IntN(len(kinds))]
		}
		began := time.Now()
		c.round.Store(fmt.Sprintf("round %d of %d, %s", round+1, rounds, kind.name))
		c.counts[kind.name]++
		c.backup()
		err := kind.run(c)
		if err == nil {
			c.round.Store(c.round.Load().(string) + ", settling")
			err = c.settle()
		}
		if err != nil {
			t.Fatalf("%s (seed %d): %v", c.round.Load(), seed, err)
		}
		c.measure(kind.name)
		t.Logf("%s: %s%s", c.round.Load(), time.Since(began).Round(100*time.Millisecond), c.notes())
		if t.Failed() {
			t.Fatalf("%s (seed %d) did harm", c.round.Load(), seed)
		}
	}
	c.report()
}

// campaignSetting reads a number from the environment.
func campaignSetting(t *testing.T, name string, usual uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return usual
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// campaignFault is a kind of fault. It returns when the fault is over, but for what people
// have to settle; an error ends the campaign.
type campaignFault struct {
	name string
	run  func(*campaign) error
}

// campaign is a grid under random faults.
type campaign struct {
	t       *testing.T
	rng     *rand.Rand // of the test's own goroutine alone
	grid    *lab.Grid
	model   *model
	traffic *traffic
	relays  map[string]*relay     // to etcd, by part
	names   map[string]*slowNames // to DNS, by router
	round   atomic.Value          // string, for people
	said    []string              // notes of this round
	counts  map[string]int        // rounds by kind

	writes  struct{ acknowledged, unknown, refused atomic.Int64 }
	changed recentTenants
	copied  *backup
	logins  *logins
	accept  bool                 // what the guard holds is meant, not a mistake
	dir     string               // for files
	excused []func()             // end what is excused until all is settled
	corrupt map[string]bool      // tenants whose stored form is bad
	used    map[string]*lifetime // by router
}

// campaignRouters are the routers of a campaign.
func campaignRouters() []string { return []string{lab.Router1, lab.Router2, "r3"} }

// campaignKeys are the keys that requests bear; some are pinned.
func campaignKeys() []string { return []string{"k0", "k1", "k2", "nobody's"} }

// campaignTenants is how many tenants are asked for and changed.
const campaignTenants = 24

func startCampaign(t *testing.T, seed uint64) *campaign {
	t.Helper()
	c := &campaign{
		t: t, rng: rand.New(rand.NewPCG(seed, 0)), model: newModel(campaignRouters()),
		relays: map[string]*relay{}, names: map[string]*slowNames{}, counts: map[string]int{},
		corrupt: map[string]bool{}, used: map[string]*lifetime{}, dir: t.TempDir(),
	}
	c.round.Store("the start")
	c.logins = newLogins(t)
	c.traffic = newTraffic(c.model, campaignKeys(), c.fail)
	config := lab.Config{Bin: bin(t), Routers: len(campaignRouters()), Via: c.via, Login: c.logins.of, Events: c.event, RouterFlags: []string{"--access-log", "off"}}
	t.Cleanup(func() { // after the grid's end
		for _, r := range c.relays {
			r.close()
		}
		for _, n := range c.names {
			n.close()
		}
	})
	c.grid = startGrid(t, config)
	if c.chance(2) { // else it is turned on later
		if err := c.turnLoginsOn(); err != nil {
			t.Fatal(err)
		}
	}
	c.applyFirst()
	if err := c.settle(); err != nil {
		t.Fatal(err)
	}
	c.warm()
	for i, router := range campaignRouters() {
		c.traffic.client(router, c.grid.Address(router), rand.New(rand.NewPCG(seed, uint64(i+1))))
	}
	t.Cleanup(func() { t.Log(c.traffic.end()) })
	return c
}

// via puts a relay between a part and what it asks.
func (c *campaign) via(part, address string) string {
	if strings.HasSuffix(address, ":2379") {
		r, err := newRelay(address)
		if err != nil {
			c.t.Fatal(err)
		}
		c.relays[part] = r
		return r.address()
	}
	n, err := newSlowNames(address)
	if err != nil {
		c.t.Fatal(err)
	}
	c.names[part] = n
	return n.conn.LocalAddr().String()
}

// event fails the test when a part ends by itself.
func (c *campaign) event(e lab.Event) {
	if e.Kind == lab.Ended {
		c.fail("%s ENDED BY ITSELF: %s", e.Part.Name, e.Text)
	}
}

func (c *campaign) fail(format string, args ...any) {
	c.t.Errorf("%s: %s", c.round.Load(), fmt.Sprintf(format, args...))
}

// note says something of this round.
func (c *campaign) note(format string, args ...any) {
	c.said = append(c.said, fmt.Sprintf(format, args...))
}

func (c *campaign) notes() string {
	text := strings.Join(c.said, "; ")
	if c.said = nil; text != "" {
		text = ": " + text
	}
	return text
}

// campaignPatience bounds every wait. Back-offs end after half a minute at most, and a
// loaded machine with the race detector takes a multiple of it all.
const campaignPatience = 3 * time.Minute

// until asks until the answer is good. Unlike testkit.Eventually it returns the last error, so that
// the campaign can say what it has done before it fails.
func (c *campaign) until(what string, ask func() error) error {
	for deadline := time.Now().Add(campaignPatience); ; time.Sleep(50 * time.Millisecond) {
		err := ask()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: not even after %s: %w", what, campaignPatience, err)
		}
		if c.t.Context().Err() != nil {
			return c.t.Context().Err()
		}
	}
}

// chance is true once in n times.
func (c *campaign) chance(n int) bool { return c.rng.IntN(n) == 0 }

// tenant draws a tenant.
func (c *campaign) tenant() string { return c.model.names[c.rng.IntN(len(c.model.names))] }

// otherDeck draws a deck that is another one.
func (c *campaign) otherDeck(deck string) string {
	decks := lab.DeckNames()
	at := slices.Index(decks, deck)
	return decks[(at+1+c.rng.IntN(len(decks)-1))%len(decks)]
}

// router draws a router.
func (c *campaign) router() string {
	routers := campaignRouters()
	return routers[c.rng.IntN(len(routers))]
}

// applyFirst writes the decks, names and tenants that the campaign begins with.
func (c *campaign) applyFirst() {
	c.t.Helper()
	text := campaignDecks()
	var names []string
	for i := range campaignTenants {
		name, pins := fmt.Sprintf("t%02d", i), []string{unpinned, resident, cached}[i%3]
		f := form{deck: lab.DeckNames()[c.rng.IntN(4)]}
		names = append(names, name)
		text += tenantText(name, pins, f)
		c.model.add(name, pins, f, 0)
	}
	file := filepath.Join(c.dir, "first.yaml")
	if err := os.WriteFile(file, []byte(c.grid.Rewrite(text)), 0o600); err != nil {
		c.t.Fatal(err)
	}
	report, err := c.ctl(context.Background(), "apply", "-f", file, "--timeout", "30s", "--allow-mass-change")
	if err != nil {
		c.t.Fatal(err)
	}
	for _, name := range names {
		c.model.tenants[name].attempts[0].epoch = report.epoch(name)
	}
}
