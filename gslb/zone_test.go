package gslb

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

var vipAddr = netip.MustParseAddr("10.9.0.1")

// zoned returns a document of a policy whose VIPs are written as "address weight priority zone".
func zoned(policy Policy, vips ...string) *Document {
	d := &Document{Kind: Kind, Name: "orders.deck.example", Policy: policy}
	for _, text := range vips {
		v := VIP{Weight: new(0)}
		if _, err := fmt.Sscan(text, &v.Address, v.Weight, &v.Priority, &v.Zone); err != nil {
			panic(err)
		}
		d.VIPs = append(d.VIPs, v)
	}
	return d
}

// answers returns the sorted addresses that a zone of one document has for an asker.
func answers(t testing.TB, d *Document, asker string) string {
	t.Helper()
	z := NewZone([]*Document{d}, ZoneConfig{Networks: map[string][]netip.Prefix{
		"west-a": {netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("2001:db8:1::/48")},
		"west-b": {netip.MustParsePrefix("10.1.7.0/24")},
		"east-a": {netip.MustParsePrefix("10.2.0.0/16")},
	}})
	if len(z.Problems()) > 0 {
		t.Fatal(z.Problems())
	}
	got, _, ok := z.Answer(d.Name, netip.MustParseAddr(asker))
	if !ok || len(got) == 0 {
		t.Fatalf("no answer")
	}
	slices.SortFunc(got, netip.Addr.Compare)
	return strings.Trim(fmt.Sprint(got), "[]")
}

func TestPolicies(t *testing.T) {
	f := func(want, asker string, d *Document) {
		t.Helper()
		if got := answers(t, d, asker); got != want {
			t.Errorf("%s asked by %s: %s; want %s", d.Policy, asker, got, want)
		}
	}
	const away = "192.0.2.1"
	f("10.9.0.1 10.9.0.2", away, zoned("", "10.9.0.1 1 0 a", "10.9.0.2 1000 0 a"))
	f("10.9.0.2", away, zoned(PolicyWeighted, "10.9.0.1 0 0 a", "10.9.0.2 1 0 a"))
	f("10.9.0.1 10.9.0.2", away, zoned(PolicyWeighted, "10.9.0.1 0 0 a", "10.9.0.2 0 0 a"))
	f("10.9.0.1 2001:db8::1", away, zoned(PolicyWeighted, "10.9.0.1 1 0 a", "2001:db8::1 1 0 a"))

	f("10.9.0.2 10.9.0.3", away, zoned(PolicyFailover, "10.9.0.1 9 2 a", "10.9.0.2 9 1 a", "10.9.0.3 9 1 a"))
	f("10.9.0.1", away, zoned(PolicyFailover, "10.9.0.1 9 1000 a"))
	f("10.9.0.1", away, zoned(PolicyFailover, "10.9.0.1 9 2 a", "10.9.0.2 0 1 a"))          // a group of weight 0 is drained
	f("10.9.0.2", away, zoned(PolicyFailover, "10.9.0.1 0 2 a", "10.9.0.2 0 1 a"))          // unless all are
	f("10.9.0.1", away, zoned(PolicyFailover, "10.9.0.1 9 1 a", "2001:db8::1 9 2 a"))       // the families fail over together
	f("10.9.0.1 10.9.0.2", away, zoned(PolicyWeighted, "10.9.0.1 9 2 a", "10.9.0.2 9 1 a")) // only failover knows priorities

	near := zoned(PolicyNearest, "10.9.0.1 9 0 west-a", "10.9.0.2 9 0 west-b", "10.9.0.3 9 0 west-a", "10.9.0.4 9 0 north-a")
	f("10.9.0.1 10.9.0.3", "10.1.2.3", near)
	f("10.9.0.1 10.9.0.3", "2001:db8:1::7", near)
	f("10.9.0.2", "10.1.7.1", near)                                                               // the longest network decides
	f("10.9.0.1 10.9.0.2 10.9.0.3 10.9.0.4", "10.2.0.1", near)                                    // a zone without VIPs
	f("10.9.0.1 10.9.0.2 10.9.0.3 10.9.0.4", away, near)                                          // no zone
	f("10.9.0.2", "::ffff:10.1.7.1", near)                                                        // an IPv4 asker at a socket of both families
	f("10.9.0.2", "10.1.2.3", zoned(PolicyNearest, "10.9.0.1 0 0 west-a", "10.9.0.2 9 0 west-b")) // drained, so not the nearest
}

func TestTheFirstAddressFollowsTheWeights(t *testing.T) {
	z := NewZone([]*Document{zoned(PolicyWeighted, "10.9.0.1 100 0 a", "10.9.0.2 300 0 a", "10.9.0.3 600 0 a")}, ZoneConfig{})
	const draws = 20000
	first := map[netip.Addr]int{}
	second := 0 // .2 after .3: drawn without replacement, by the weights of what is left
	for range draws {
		got, _, _ := z.Answer("orders.deck.example", netip.Addr{})
		first[got[0]]++
		if got[0].String() == "10.9.0.3" && got[1].String() == "10.9.0.2" {
			second++
		}
	}
	near := func(what string, got int, of, want float64) {
		t.Helper()
		if math.Abs(float64(got)/of-want) > 0.03 {
			t.Errorf("%s: %.3f; want %.3f", what, float64(got)/of, want)
		}
	}
	near("10.9.0.1 first", first[netip.MustParseAddr("10.9.0.1")], draws, 0.1)
	near("10.9.0.2 first", first[netip.MustParseAddr("10.9.0.2")], draws, 0.3)
	near("10.9.0.3 first", first[netip.MustParseAddr("10.9.0.3")], draws, 0.6)
	near("10.9.0.2 second", second, float64(first[netip.MustParseAddr("10.9.0.3")]), 0.75)
}

func TestAZoneLeavesOutWhatIsBad(t *testing.T) {
	named := func(name string) *Document { return valid(func(d *Document) { d.Name = name }) }
	broken := valid(func(d *Document) { d.Name, d.VIPs = "broken.deck.example", nil })
	twice := valid(func(d *Document) { d.Name, d.VIPs = "a.deck.example", []VIP{{Address: "10.9.0.9"}} })
	z := NewZone([]*Document{named("a.deck.example"), broken, twice, named("b.elsewhere.example")},
		ZoneConfig{Origins: []string{"Deck.Example.", "deck.example", "..", "10.0.0.1"}, NameServers: []NameServer{{Name: "ns..example"}}})
	var problems []string
	for _, p := range z.Problems() {
		problems = append(problems, p.Name)
	}
	if want := []string{"ns..example", ".", "10.0.0.1", "broken.deck.example", "a.deck.example", "b.elsewhere.example"}; !slices.Equal(problems, want) {
		t.Errorf("problems %q; want %q", problems, want)
	}
	if got := z.Origins(); !slices.Equal(got, []string{"deck.example"}) || z.Names() != 1 {
		t.Errorf("origins %q, %d names; want deck.example with one", got, z.Names())
	}
	if got, _, _ := z.Answer("a.deck.example", netip.Addr{}); len(got) != 2 {
		t.Errorf("addresses %v; the first document of a name is served", got)
	}
}

func TestOriginsAreTheParentsOfNames(t *testing.T) {
	z := NewZone([]*Document{
		valid(func(d *Document) { d.Name = "a.deck.example" }), valid(func(d *Document) { d.Name = "b.deck.example" }),
		valid(func(d *Document) { d.Name = "c.other.example" }),
	}, ZoneConfig{})
	if got := z.Origins(); !slices.Equal(got, []string{"deck.example", "other.example"}) {
		t.Errorf("origins %q", got)
	}
}

func TestAZoneDoesNotKeepTheDocuments(t *testing.T) {
	d := valid()
	z := NewZone([]*Document{d}, ZoneConfig{})
	d.VIPs[0].Address, d.VIPs[1].Address = "10.9.9.9", "10.9.9.9"
	got, _, _ := z.Answer(d.Name, netip.Addr{})
	if slices.Contains(got, netip.MustParseAddr("10.9.9.9")) {
		t.Errorf("addresses %v; a zone is immutable", got)
	}
}
