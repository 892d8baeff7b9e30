package router

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/routing"
)

// pinBoard answers for pins as it was told to, and remembers who asked.
type pinBoard struct {
	mu      sync.Mutex
	pins    map[string]routing.Pinned // by "tenant/key"; none: waits until the caller's time is over
	asked   []string
	allowed []time.Duration // how long the callers would have waited
}

func (b *pinBoard) Pin(ctx context.Context, tenant string, key []byte) routing.Pinned {
	b.mu.Lock()
	until, _ := ctx.Deadline()
	b.asked, b.allowed = append(b.asked, tenant+"/"+string(key)), append(b.allowed, time.Until(until))
	pin, ok := b.pins[tenant+"/"+string(key)]
	b.mu.Unlock()
	if !ok {
		<-ctx.Done()
	}
	return pin
}

func (b *pinBoard) questions() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.asked)
}

// cachedGrid is a grid of a tenant whose pins are cached, with two decks and the pins of
// keys. A key without a pin belongs to d1.
func cachedGrid(t *testing.T, pins Pins, keys ...string) *grid {
	t.Helper()
	g := newGrid(t, func(cfg *Config) { cfg.Pins = pins })
	g.compiler.CachePins()
	docs := []any{
		deckAt("d1", answering(t, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nd1").addr),
		deckAt("d2", answering(t, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nd2").addr),
		cachedTenant(),
	}
	for _, key := range keys {
		docs = append(docs, &routing.Pin{Tenant: "acme", Key: key, Deck: "d2"})
	}
	g.put(docs...)
	if problems := g.router.Table().Problems(); len(problems) > 0 {
		t.Fatalf("problems: %+v", problems)
	}
	return g
}

func cachedTenant() *routing.Tenant {
	tenant := tenantOn("acme", "", "acme.test")
	tenant.Rules = []routing.Rule{{Name: "users", Key: &routing.KeySource{Header: "x-user-id"}, Pins: routing.PinsCached, Split: map[string]int{"d1": 1}}}
	return tenant
}

// readPin is what reading a pin of cachedGrid's tenant gives, which is stored with deck d2, where the
// reader takes it for one of a deck.
func readPin(key, deck string) routing.Pinned {
	return routing.Pinned{State: routing.PinFound, Deck: deck, Sum: storedSum(key, "d2")}
}

// storedSum is the hash of a stored pin of cachedGrid's tenant.
func storedSum(key, deck string) uint64 {
	value, _ := json.Marshal(&routing.Pin{Kind: routing.KindPin, Tenant: "acme", Key: key, Deck: deck})
	return routing.PinSum("pins/acme/"+routing.EscapeKey(key), value)
}

// TestACachedPinDecidesAndExplainSaysTheSame sends requests whose pins are read while they
// wait, and asks for the explanation of each.
func TestACachedPinDecidesAndExplainSaysTheSame(t *testing.T) {
	board := &pinBoard{pins: map[string]routing.Pinned{
		"acme/found":   readPin("found", "d2"),
		"acme/gone":    {State: routing.PinAbsent},
		"acme/garbled": {State: routing.PinUnread},
		"acme/nowhere": readPin("nowhere", "no-such-deck"),
		"acme/a/b c":   readPin("a/b c", "d2"),
	}}
	g := cachedGrid(t, board, "found", "gone", "garbled", "nowhere", "a/b c")
	admin := adminOf(g, nil)
	f := func(key, want string, questions ...string) {
		t.Helper()
		before := len(board.questions())
		r := g.ask(get("/", "X-User-Id: "+key))
		got := r.fault()
		if r.StatusCode == http.StatusOK {
			got = r.body
		}
		if got != want || (r.StatusCode != http.StatusOK && r.StatusCode != http.StatusServiceUnavailable) {
			t.Errorf("%s: got %d %q, want %q", key, r.StatusCode, got, want)
		}
		if asked := board.questions()[before:]; !slices.Equal(asked, questions) {
			t.Errorf("%s: the pins %q were read, want %q", key, asked, questions)
		}
		_, body := fetch(t, "GET", admin.URL+"/explain?url=http://acme.test/&header=X-User-Id:"+urlEscaped(key))
		var told routing.Explanation
		if err := json.Unmarshal([]byte(body), &told); err != nil || told.Deck+string(told.Fault) != want {
			t.Errorf("%s: explain says %s, want %q (%v)", key, body, want, err)
		}
	}
	f("found", "d2", "acme/found")
	f("gone", "pin_unreadable", "acme/gone")
	f("garbled", "pin_unreadable", "acme/garbled")
	f("nowhere", "deck_down", "acme/nowhere")
	f("a/b c", "d2", "acme/a/b c")
	f("without a pin", "d1")
}

// TestAPinThatIsDeletedJustNowIsWaitedFor has a request find etcd without a pin that the table
// knows of: it is held to the next table, unless that holds the deletion for a mass change.
func TestAPinThatIsDeletedJustNowIsWaitedFor(t *testing.T) {
	board := &pinBoard{pins: map[string]routing.Pinned{"acme/gone": {State: routing.PinAbsent}}}
	g := cachedGrid(t, board, "gone")
	asked := func() (answered chan *reply) {
		before := len(board.questions())
		answered = make(chan *reply, 1)
		go func() { answered <- g.ask(get("/", "X-User-Id: gone")) }()
		testkit.Eventually(t, "the pin is read", func() bool { return len(board.questions()) > before })
		return answered
	}
	answered := asked()
	g.put(tenantOn("other", "d1", "other.test")) // a table that changes nothing of it
	g.drop("pins/acme/gone")
	if r := <-answered; r.body != "d1" {
		t.Errorf("after the deletion was told: got %d %s", r.StatusCode, r.body)
	}
	g.put(&routing.Pin{Tenant: "acme", Key: "gone", Deck: "d2"})
	answered = asked()
	g.drop("tenants/acme")
	if r := <-answered; r.fault() != "no_tenant" {
		t.Errorf("after the tenant's deletion was told: got %d %s", r.StatusCode, r.fault())
	}
}

// TestAPinOfAnotherTimeIsNotTaken has a request find another form of its pin in etcd than the table
// knows: one that was written just now, or that a restore from a backup brought back. It is held to the
// next table that knows it, and never served by a form that no table knows.
func TestAPinOfAnotherTimeIsNotTaken(t *testing.T) {
	board := &pinBoard{pins: map[string]routing.Pinned{"acme/10086": {State: routing.PinFound, Deck: "d1", Sum: storedSum("10086", "d1")}}}
	g := cachedGrid(t, board, "10086")
	admin := adminOf(g, nil)
	_, body := fetch(t, "GET", admin.URL+"/explain?url=http://acme.test/&header=X-User-Id:10086")
	if !strings.Contains(body, "the pin that was read is not the one that the table knows") {
		t.Errorf("explain says %s", body)
	}
	before := len(board.questions())
	answered := make(chan *reply, 1)
	go func() { answered <- g.ask(get("/", "X-User-Id: 10086")) }()
	testkit.Eventually(t, "the pin is read", func() bool { return len(board.questions()) > before })
	g.put(tenantOn("other", "d1", "other.test")) // a table that changes nothing of it
	g.put(&routing.Pin{Tenant: "acme", Key: "10086", Deck: "d1"})
	if r := <-answered; r.body != "d1" {
		t.Errorf("after the change was told: got %d %s %s", r.StatusCode, r.fault(), r.body)
	}
	g.put(&routing.Pin{Tenant: "acme", Key: "10086", Deck: "d2"}) // etcd was set back, and no router knows yet
	if r := g.ask(get("/", "X-User-Id: 10086")); r.fault() != string(routing.FaultPinUnreadable) {
		t.Errorf("a pin of a backup: got %d %s %s, want pin_unreadable", r.StatusCode, r.fault(), r.body)
	}
}

// TestARequestWaitsForItsPinNoLongerThanItMay reads pins that never come.
func TestARequestWaitsForItsPinNoLongerThanItMay(t *testing.T) {
	board := &pinBoard{}
	g := cachedGrid(t, board, "10086")
	want := func() {
		t.Helper()
		if r := g.ask(get("/", "X-User-Id: 10086")); r.StatusCode != http.StatusServiceUnavailable || r.fault() != string(routing.FaultPinUnreadable) {
			t.Errorf("got %d %s, want pin_unreadable", r.StatusCode, r.fault())
		}
	}
	want()
	tenant := cachedTenant()
	tenant.Epoch++
	tenant.Timeouts = &routing.TenantTimeouts{Total: routing.Duration(20 * time.Millisecond)}
	g.put(tenant)
	want()
	for i, most := range []time.Duration{pinTimeout, 20 * time.Millisecond} {
		if board.allowed[i] > most {
			t.Errorf("request %d would have waited %v, want at most %v", i, board.allowed[i], most)
		}
	}
}

// TestPinsThatNobodyReadsStayUnread has a router that was given nobody to ask.
func TestPinsThatNobodyReadsStayUnread(t *testing.T) {
	g := cachedGrid(t, nil, "10086")
	if r := g.ask(get("/", "X-User-Id: 10086")); r.fault() != string(routing.FaultPinUnreadable) {
		t.Errorf("got %d %s, want pin_unreadable", r.StatusCode, r.fault())
	}
	if r := g.ask(get("/", "X-User-Id: 7")); r.body != "d1" {
		t.Errorf("a key without a pin: got %d %s", r.StatusCode, r.body)
	}
}

// TestATenantWhosePinsAreReadOnDemandShowsNoCountOfThem asks about one that has two, and about one whose
// pins the table holds.
func TestATenantWhosePinsAreReadOnDemandShowsNoCountOfThem(t *testing.T) {
	g := cachedGrid(t, &pinBoard{}, "1", "2")
	server := adminOf(g, nil)
	if got := fetchJSON(t, server.URL+"/tenants/acme"); got["pinsOnDemand"] != true || got["pins"] != nil {
		t.Errorf("read on demand: %v", got)
	}
	held := cachedTenant()
	held.Rules[0].Pins = routing.PinsResident
	g.put(held)
	if got := fetchJSON(t, server.URL+"/tenants/acme"); got["pinsOnDemand"] != nil || got["pins"] == nil {
		t.Errorf("held: %v", got)
	}
}
