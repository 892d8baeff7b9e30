package routing_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"gridrouter.io/routing"
	"gridrouter.io/routing/routingtest"
)

func validTenant() *routing.Tenant {
	return &routing.Tenant{
		Kind: "Tenant", Name: "acme", Hosts: []string{"acme.example"},
		Rules: []routing.Rule{{Name: "all", Key: &routing.KeySource{Header: "x-id"}, Split: map[string]int{"east": 1}}},
	}
}

func validDeck() *routing.Deck {
	return &routing.Deck{Kind: "Deck", Name: "east", Domain: "east.example", Attach: routing.AttachDirect, Addresses: []string{"127.0.0.1:80"}}
}

// tenantLimit takes a limit of a tenant to its last good value and one beyond.
func tenantLimit(t *testing.T, limit int, path string, set func(t *routing.Tenant, n int)) {
	t.Helper()
	for _, n := range []int{limit, limit + 1} {
		document := validTenant()
		set(document, n)
		checkLimit(t, document.Validate(), path, n > limit)
	}
}

// deckLimit does the same for a deck.
func deckLimit(t *testing.T, limit int, path string, set func(d *routing.Deck, n int)) {
	t.Helper()
	for _, n := range []int{limit, limit + 1} {
		document := validDeck()
		set(document, n)
		checkLimit(t, document.Validate(), path, n > limit)
	}
}

// TestLimitsOfDocuments takes each limit to its last good value and one beyond.
func TestLimitsOfDocuments(t *testing.T) {
	t.Run("tenants", limitsOfTenants)
	t.Run("matches", limitsOfMatches)
	t.Run("decks", limitsOfDecks)
	t.Run("pins", limitsOfPins)
}

func limitsOfTenants(t *testing.T) {
	tenantLimit(t, routing.MaxNameBytes, "name", func(d *routing.Tenant, n int) { d.Name = strings.Repeat("x", n) })
	tenantLimit(t, routing.MaxNameBytes, "rules[0].name", func(d *routing.Tenant, n int) { d.Rules[0].Name = strings.Repeat("x", n) })
	tenantLimit(t, routing.MaxHosts, "hosts", func(d *routing.Tenant, n int) {
		for i := range n - 1 {
			d.Hosts = append(d.Hosts, fmt.Sprintf("h%d.example", i))
		}
	})
	tenantLimit(t, routing.MaxHosts, "delegates", func(d *routing.Tenant, n int) {
		d.Hosts = []string{"*.acme.example"}
		for i := range n {
			d.Delegates = append(d.Delegates, fmt.Sprintf("h%d.acme.example", i))
		}
	})
	tenantLimit(t, routing.MaxRules, "rules", func(d *routing.Tenant, n int) {
		for i := range n - 1 {
			d.Rules = append(d.Rules, routing.Rule{Name: fmt.Sprintf("r-%d", i), Deck: "east"})
		}
	})
	tenantLimit(t, routing.MaxRanges, "rules[0].ranges", func(d *routing.Tenant, n int) {
		for i := range n {
			d.Rules[0].Ranges = append(d.Rules[0].Ranges, routing.Range{From: int64(i), To: int64(i), Deck: "east"})
		}
	})
	tenantLimit(t, routing.MaxSplitDecks, "rules[0].split", func(d *routing.Tenant, n int) {
		d.Rules[0].Split = map[string]int{}
		for i := range n {
			d.Rules[0].Split[fmt.Sprintf("deck-%d", i)] = 1
		}
	})
	tenantLimit(t, routing.MaxWeight, "rules[0].split.east", func(d *routing.Tenant, n int) { d.Rules[0].Split["east"] = n })
	tenantLimit(t, routing.MaxPathSegment, "rules[0].key.path", func(d *routing.Tenant, n int) { d.Rules[0].Key = &routing.KeySource{Path: n} })
	tenantLimit(t, int(24*time.Hour), "timeouts.total", func(d *routing.Tenant, n int) { d.Timeouts = &routing.TenantTimeouts{Total: routing.Duration(n)} })
}

func limitsOfMatches(t *testing.T) {
	for _, field := range []string{"methods", "headers", "cookies", "query"} {
		tenantLimit(t, routing.MaxConditions, "rules[0].match."+field, func(d *routing.Tenant, n int) {
			m := &routing.Match{Headers: map[string]string{}, Cookies: map[string]string{}, Query: map[string]string{}}
			for i := range n {
				name := fmt.Sprintf("n%d", i)
				switch field {
				case "methods":
					m.Methods = append(m.Methods, strings.ToUpper(name))
				case "headers":
					m.Headers[name] = ""
				case "cookies":
					m.Cookies[name] = ""
				case "query":
					m.Query[name] = ""
				}
			}
			d.Rules[0].Match = m
		})
	}
	tenantLimit(t, routing.MaxKeyBytes, "rules[0].match.headers.x-a", func(d *routing.Tenant, n int) {
		d.Rules[0].Match = &routing.Match{Headers: map[string]string{"x-a": strings.Repeat("v", n)}}
	})
}

func limitsOfDecks(t *testing.T) {
	deckLimit(t, routing.MaxAddresses, "addresses", func(d *routing.Deck, n int) {
		for i := range n - 1 {
			d.Addresses = append(d.Addresses, fmt.Sprintf("127.1.%d.%d:80", i/250, i%250))
		}
	})
	deckLimit(t, routing.MaxNameBytes, "zone", func(d *routing.Deck, n int) { d.Zone = strings.Repeat("z", n) })
	deckLimit(t, 65535, "port", func(d *routing.Deck, n int) { d.Attach, d.Addresses, d.Port = routing.AttachMesh, nil, n })
	deckLimit(t, int(time.Minute), "timeouts.connect", func(d *routing.Deck, n int) { d.Timeouts = &routing.DeckTimeouts{Connect: routing.Duration(n)} })
	deckLimit(t, int(time.Hour), "timeouts.firstByte", func(d *routing.Deck, n int) { d.Timeouts = &routing.DeckTimeouts{FirstByte: routing.Duration(n)} })
	deckLimit(t, int(time.Hour), "timeouts.idle", func(d *routing.Deck, n int) { d.Timeouts = &routing.DeckTimeouts{Idle: routing.Duration(n)} })
}

func limitsOfPins(t *testing.T) {
	for _, n := range []int{routing.MaxKeyBytes, routing.MaxKeyBytes + 1} {
		p := routing.Pin{Kind: "Pin", Tenant: "acme", Key: strings.Repeat("k", n), Deck: "east"}
		checkLimit(t, p.Validate(), "key", n > routing.MaxKeyBytes)
	}
}

func checkLimit(t *testing.T, err error, path string, refused bool) {
	t.Helper()
	switch {
	case !refused && err != nil:
		t.Errorf("at its limit, %s is refused: %v", path, err)
	case refused && err == nil:
		t.Errorf("beyond its limit, %s is taken", path)
	case refused && !strings.HasPrefix(err.Error(), path+":"):
		t.Errorf("beyond its limit, %s is refused with %v", path, err)
	}
}

func TestFieldsThatAreNotBuiltYetAreRefusedByName(t *testing.T) {
	f := func(err error, path string) {
		t.Helper()
		if err == nil || !strings.HasPrefix(err.Error(), path+": ") || !strings.Contains(err.Error(), "not supported yet") {
			t.Errorf("%s: %v", path, err)
		}
	}
	deck := func(set func(*routing.Deck)) error { d := validDeck(); set(d); return d.Validate() }
	tenant := func(set func(*routing.Tenant)) error { d := validTenant(); set(d); return d.Validate() }
	f(deck(func(d *routing.Deck) { d.Health = &routing.DeckHealth{} }), "health")
	f(deck(func(d *routing.Deck) { d.Limits = &routing.DeckLimits{} }), "limits")
	f(tenant(func(d *routing.Tenant) { d.Limits = &routing.TenantLimits{} }), "limits")
}

func TestHostsAreCanonical(t *testing.T) {
	f := func(host string, wildcard, good bool) {
		t.Helper()
		if err := routing.CheckHost(host, wildcard); (err == nil) != good {
			t.Errorf("%q: %v", host, err)
		}
	}
	f("shop.acme.example", false, true)
	f("localhost", false, true)
	f("_dns.acme.example", false, true)
	f("xn--bcher-kva.example", false, true)
	f("*.acme.example", true, true)
	f("*.acme.example", false, false)
	f("*", true, true)
	f("*", false, false)
	f("**", true, false)
	f("*a", true, false)
	f("*.", true, false)
	f("a.*.example", true, false)
	f("Shop.example", false, false)
	f("shop.example.", false, false)
	f("shop.example:80", false, false)
	f("bücher.example", false, false)
	f("", false, false)
	f("a..b", false, false)
	f("-a.example", false, false)
	f("a-.example", false, false)
	f(strings.Repeat("a", 63)+".example", false, true)
	f(strings.Repeat("a", 64)+".example", false, false)
	f(strings.Repeat("abcdefg.", 31)+"abcde", false, true)
	f(strings.Repeat("abcdefg.", 31)+"abcdef", false, false)
	f("192.0.2.1", false, true)
	f("192.0.2.01", false, false)
	f("192.0.2", false, false)
	f("*.192.0.2.1", true, false)
	f("[2001:db8::1]", false, true)
	f("[2001:DB8::1]", false, false)
	f("[::ffff:192.0.2.1]", false, false)
	f("2001:db8::1", false, false)
}

func TestEndpoints(t *testing.T) {
	f := func(address, want string) {
		t.Helper()
		e, err := routing.ParseEndpoint(address)
		if got := e.String(); err == nil && got != want || err != nil && want != "" {
			t.Errorf("%q -> %s, %v", address, got, err)
		}
	}
	f("10.1.0.11:8080", "10.1.0.11:8080")
	f("[2001:db8::1]:80", "[2001:db8::1]:80")
	f("orders.svc:8080", "orders.svc:8080")
	for _, bad := range []string{
		"10.1.0.11", ":80", "orders.svc:0", "orders.svc:65536", "orders.svc:http", "orders.svc:+80", "orders.svc:080",
		"2001:db8::1:80", "[2001:db8::1]", "Orders.svc:80", "orders.svc.:80", "10.1.0.256:80", "http://x:80", "[::1%eth0]:80",
	} {
		f(bad, "")
	}
}

func TestDefaultsOfDecks(t *testing.T) {
	g := routingtest.NewGrid(t, routingtest.TwoDecks, "kind: Deck\nname: mesh\ndomain: mesh.example\nattach: mesh\ntimeouts: {connect: 2s, firstByte: 3s, idle: 4s}\nhostHeader: original\n")
	byName := map[string]*routing.CompiledDeck{}
	for _, deck := range g.Table.Decks() {
		byName[deck.Name] = deck
	}
	east, mesh := byName["east"], byName["mesh"]
	if east.State != routing.DeckActive || east.HostHeader != routing.HostHeaderDeck || east.Connect != time.Second ||
		east.FirstByte != 30*time.Second || east.Idle != time.Minute || len(east.Endpoints) != 1 || east.Endpoints[0].String() != "127.0.0.1:80" {
		t.Errorf("%+v", east)
	}
	if mesh.Port != 80 || mesh.Endpoints[0].String() != "mesh.example:80" || mesh.Connect != 2*time.Second ||
		mesh.FirstByte != 3*time.Second || mesh.Idle != 4*time.Second || mesh.HostHeader != routing.HostHeaderOriginal {
		t.Errorf("%+v", mesh)
	}
}
