package router

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/routing"
)

// ledger is a resolver whose answers a test writes down: DNS itself is tested where it
// is spoken.
type ledger struct {
	mu      sync.Mutex
	tracked []string
	answers map[string][]netip.Addr
	tell    func(string)
}

func (l *ledger) Track(names []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tracked = slices.Clone(names)
}

func (l *ledger) Lookup(name string) ([]netip.Addr, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	addrs, tried := l.answers[name]
	return addrs, tried
}

func (l *ledger) Notify(f func(string)) { l.tell = f }

func (l *ledger) answer(name string, addrs ...string) {
	l.mu.Lock()
	if l.answers == nil {
		l.answers = map[string][]netip.Addr{}
	}
	l.answers[name] = []netip.Addr{}
	for _, addr := range addrs {
		l.answers[name] = append(l.answers[name], netip.MustParseAddr(addr))
	}
	l.mu.Unlock()
	l.tell(name)
}

func TestAMeshDeckIsReachedAtWhatGSLBAnswers(t *testing.T) {
	mesh, names := &ledger{}, &ledger{}
	g := newGrid(t, func(cfg *Config) { cfg.GSLB, cfg.Names = mesh, names })
	addr, heads := recording(t)
	port := netip.MustParseAddrPort(addr).Port()
	g.put(&routing.Deck{Name: "m1", Domain: "m1.deck.test", Attach: routing.AttachMesh, Port: int(port)}, tenantOn("acme", "m1", "acme.test"))
	if !slices.Equal(mesh.tracked, []string{"m1.deck.test"}) || len(names.tracked) != 0 {
		t.Fatalf("GSLB is asked for %q, the resolver for %q", mesh.tracked, names.tracked)
	}
	wantStatus(t, g.ask(get("/")), 503, "deck_unresolved")
	mesh.answer("m1.deck.test")
	wantStatus(t, g.ask(get("/")), 503, "deck_unresolved")
	mesh.answer("m1.deck.test", "127.0.0.1")
	wantStatus(t, g.ask(get("/")), 200, "")
	if head := <-heads; !strings.Contains(head, "\r\nHost: m1.deck.test\r\n") {
		t.Fatalf("the ingress got %q", head)
	}
	mesh.answer("m1.deck.test")
	wantStatus(t, g.ask(get("/")), 503, "deck_unresolved")
	mesh.answer("other.test", "127.0.0.1") // a name that nobody uses changes nothing
	if g.router.Table().Revision() != 1 {
		t.Fatal("the table changed with the addresses")
	}
}

func TestNamesAmongDirectAddressesAreResolvedToo(t *testing.T) {
	mesh, names := &ledger{}, &ledger{}
	g := newGrid(t, func(cfg *Config) { cfg.GSLB, cfg.Names = mesh, names })
	one, two := answering(t, fine), answering(t, fine)
	_, port, _ := strings.Cut(one.addr, ":")
	g.one(two.addr, "orders.svc:"+port)
	if !slices.Equal(names.tracked, []string{"orders.svc"}) || len(mesh.tracked) != 0 {
		t.Fatalf("GSLB is asked for %q, the resolver for %q", mesh.tracked, names.tracked)
	}
	names.answer("orders.svc", "127.0.0.1")
	testkit.Eventually(t, "both addresses are used", func() bool {
		g.ask(get("/"))
		return one.connections() > 0 && two.connections() > 0
	})
	if err := g.router.Ready(); err != nil {
		t.Fatal(err)
	}
}

func TestARouterIsReadyOnceItHasATableAndEachNameWasTried(t *testing.T) {
	mesh := &ledger{}
	g := newGrid(t, func(cfg *Config) { cfg.GSLB = mesh })
	f := func(want string) {
		t.Helper()
		err := g.router.Ready()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Fatalf("got %v, want %q", err, want)
		}
	}
	f("no documents")
	g.put(&routing.Deck{Name: "m1", Domain: "m1.deck.test", Attach: routing.AttachMesh})
	f("m1")
	mesh.answer("m1.deck.test") // in vain, but tried
	f("")
	if _, note := fetch(t, "GET", adminOf(g, nil).URL+"/readyz"); !strings.Contains(note, "1 deck(s) have no address, among them m1") {
		t.Errorf("told %q", note)
	}
	g.put(&routing.Deck{Name: "m2", Domain: "m2.deck.test", Attach: routing.AttachMesh})
	f("") // who adds a deck does not take away those that serve
	g.router.BeginDrain()
	f("draining")
}

func TestARouterWithATrulyEmptyFirstListIsReady(t *testing.T) {
	g := newGrid(t, func(cfg *Config) { cfg.GSLB = &ledger{} })
	g.publish()
	if err := g.router.Ready(); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, g.ask(get("/")), 404, "no_tenant")
}
