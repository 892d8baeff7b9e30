package vip

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"gridrouter.io/deploy/api/v1alpha1"
)

var now = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// routersOf makes routers of words "IP[,IP]:flags": r ready, l leaving for 10 s, L leaving for 60 s, x lagging.
func routersOf(words string) (all []Router) {
	for i, word := range strings.Fields(words) {
		addresses, flags, _ := strings.Cut(word, "=")
		r := Router{Name: fmt.Sprintf("edge-%d", i), Addresses: strings.Split(addresses, ",")}
		r.Ready, r.Lagging = strings.Contains(flags, "r"), strings.Contains(flags, "x")
		if strings.Contains(flags, "l") {
			r.Leaving, r.LeaveBegan = true, now.Add(-10*time.Second)
		}
		if strings.Contains(flags, "L") {
			r.Leaving, r.LeaveBegan = true, now.Add(-60*time.Second)
		}
		if strings.Contains(flags, "u") {
			r.Leaving = true // unknown since when
		}
		all = append(all, r)
	}
	return all
}

// told writes servers as "address weight".
func told(servers []v1alpha1.RealServer) string {
	var all []string
	for _, s := range servers {
		all = append(all, fmt.Sprintf("%s %d", s.Address, s.Weight))
	}
	return strings.Join(all, ", ")
}

func serversOf(t *testing.T, text string) (all []v1alpha1.RealServer) {
	t.Helper()
	for part := range strings.SplitSeq(text, ", ") {
		if part == "" {
			continue
		}
		s := v1alpha1.RealServer{State: v1alpha1.RealServerActive}
		if _, err := fmt.Sscan(part, &s.Address, &s.Weight); err != nil {
			t.Fatal(err)
		}
		switch s.Weight {
		case 0:
			s.State = v1alpha1.RealServerDraining
		case LaggingWeight:
			s.State = v1alpha1.RealServerLagging
		}
		all = append(all, s)
	}
	return all
}

func TestRealServersFollowTheRouters(t *testing.T) {
	rules := Rules{VIP: netip.MustParseAddr("10.9.0.10"), Ports: []int32{8080}, MustStay: 2, Drain: 35 * time.Second}
	f := func(rules Rules, before, routers, want string, wantAgain time.Duration) {
		t.Helper()
		got, again := RealServers(serversOf(t, before), routersOf(routers), rules, now)
		if told(got) != want || again != wantAgain {
			t.Errorf("%q and %q: %q again %s, want %q again %s", before, routers, told(got), again, want, wantAgain)
		}
		reversed := routersOf(routers)
		slices.Reverse(reversed)
		if other, _ := RealServers(serversOf(t, before), reversed, rules, now); told(other) != told(got) {
			t.Errorf("%q: in another order %q, %q", routers, told(other), told(got))
		}
	}
	f(rules, "", "", "", 0)
	f(rules, "", "10.0.0.1=r 10.0.0.2=", "10.0.0.1:8080 100", 0)
	f(rules, "", "10.0.0.10=r 10.0.0.9=r", "10.0.0.9:8080 100, 10.0.0.10:8080 100", 0)
	// One leaves: at once without weight, and gone with its pod or its drain.
	f(rules, "10.0.0.1:8080 100", "10.0.0.1=rl 10.0.0.2=r", "10.0.0.1:8080 0, 10.0.0.2:8080 100", 25*time.Second)
	f(rules, "10.0.0.1:8080 0", "10.0.0.1=L 10.0.0.2=r", "10.0.0.2:8080 100", 0)
	f(rules, "10.0.0.1:8080 0", "10.0.0.2=r", "10.0.0.2:8080 100", 0)
	f(rules, "10.0.0.1:8080 0", "10.0.0.1=u 10.0.0.2=r", "10.0.0.1:8080 0, 10.0.0.2:8080 100", 0)
	f(rules, "", "10.0.0.1=l 10.0.0.2=r", "10.0.0.2:8080 100", 0)
	f(rules, "10.0.0.1:8080 100", "10.0.0.1=rl", "10.0.0.1:8080 0", 25*time.Second)
	// Its address is given to another pod.
	f(rules, "10.0.0.1:8080 0", "10.0.0.1=l 10.0.0.1=r", "10.0.0.1:8080 100", 0)
	// One is not ready any more, and is again; none is.
	f(rules, "10.0.0.1:8080 100", "10.0.0.1= 10.0.0.2=r", "10.0.0.1:8080 0, 10.0.0.2:8080 100", 0)
	f(rules, "10.0.0.1:8080 0", "10.0.0.1=r 10.0.0.2=r", "10.0.0.1:8080 100, 10.0.0.2:8080 100", 0)
	f(rules, "10.0.0.1:8080 100, 10.0.0.2:8080 1", "10.0.0.1= 10.0.0.2= 10.0.0.3=", "10.0.0.1:8080 100, 10.0.0.2:8080 1", 0)
	f(rules, "10.0.0.1:8080 100, 10.0.0.2:8080 100", "10.0.0.1= 10.0.0.2=rl", "10.0.0.1:8080 100, 10.0.0.2:8080 0", 25*time.Second)
	// Some lag.
	f(rules, "", "10.0.0.1=r 10.0.0.2=r 10.0.0.3=rx", "10.0.0.1:8080 100, 10.0.0.2:8080 100, 10.0.0.3:8080 1", 0)
	f(rules, "", "10.0.0.1=r 10.0.0.2=rx", "10.0.0.1:8080 100, 10.0.0.2:8080 100", 0)
	f(rules, "", "10.0.0.1=rx 10.0.0.2=rx 10.0.0.3=rx", "10.0.0.1:8080 1, 10.0.0.2:8080 100, 10.0.0.3:8080 100", 0)
	f(rules, "10.0.0.3:8080 1", "10.0.0.1=rx 10.0.0.2=rx 10.0.0.3=rx", "10.0.0.1:8080 100, 10.0.0.2:8080 100, 10.0.0.3:8080 1", 0)
	f(rules, "10.0.0.3:8080 1", "10.0.0.1=r 10.0.0.2=r 10.0.0.3=r", "10.0.0.1:8080 100, 10.0.0.2:8080 100, 10.0.0.3:8080 100", 0)
	f(rules, "", "10.0.0.1=r 10.0.0.2=rxl 10.0.0.3=r", "10.0.0.1:8080 100, 10.0.0.3:8080 100", 0)
	none := rules
	none.MustStay = 0
	f(none, "", "10.0.0.1=rx", "10.0.0.1:8080 100", 0)
	// Paused, several ports, other families, no addresses.
	paused := rules
	paused.Paused = true
	f(paused, "10.0.0.1:8080 100", "10.0.0.1=rl 10.0.0.2=r", "10.0.0.1:8080 100", 0)
	two := rules
	two.Ports = []int32{8443, 8080, 0, 70000}
	f(two, "", "10.0.0.1=r", "10.0.0.1:8080 100, 10.0.0.1:8443 100", 0)
	f(rules, "", "fd00::1,10.0.0.1=r fd00::2=r ::ffff:10.0.0.3=r nonsense=r fe80::1%eth0=r =r", "10.0.0.1:8080 100, 10.0.0.3:8080 100", 0)
	six := rules
	six.VIP = netip.MustParseAddr("fd00::10")
	f(six, "[fd00::1]:8080 100", "10.0.0.1,fd00::1=rl fd00:0::2=r", "[fd00::1]:8080 0, [fd00::2]:8080 100", 25*time.Second)
	f(rules, "nonsense 5", "10.0.0.1=r", "10.0.0.1:8080 100", 0)
}

func TestARouterKeepsTheListenersOfItsOwnRevision(t *testing.T) {
	all := routersOf("10.0.0.1=r 10.0.0.2=rx 10.0.0.3=rx")
	all[0].Ports = []int32{8080}
	got, _ := RealServers(nil, all, Rules{Ports: []int32{8081}, MustStay: 1}, now)
	if want := "10.0.0.1:8080 100, 10.0.0.2:8081 1, 10.0.0.3:8081 100"; told(got) != want {
		t.Errorf("%q, want %q", told(got), want)
	}
}

func TestThereAreAtMostAThousandRealServers(t *testing.T) {
	f := func(n, ports, mustStay int) {
		t.Helper()
		var all []Router
		for i := range n {
			all = append(all, Router{Name: fmt.Sprint(i), Addresses: []string{fmt.Sprintf("10.0.%d.%d", i/250, i%250)}, Ready: i%2 == 0, Leaving: i%2 == 1})
		}
		rules := Rules{MustStay: mustStay}
		for port := range ports {
			rules.Ports = append(rules.Ports, int32(8080+port))
		}
		var before []v1alpha1.RealServer
		for i := range n {
			before = append(before, v1alpha1.RealServer{Address: fmt.Sprintf("10.0.%d.%d:8080", i/250, i%250), Weight: 100})
		}
		got, _ := RealServers(before, all, rules, now)
		full := 0
		for _, s := range got {
			if s.Weight == FullWeight {
				full++
			}
		}
		if len(got) > MaxRealServers || full < mustStay*ports {
			t.Errorf("%d routers with %d ports: %d real servers, %d full", n, ports, len(got), full)
		}
	}
	f(1000, 1, 500)
	f(2000, 1, 900)
	f(200, 16, 50)
}

// TestEnoughKeepFullWeight tries what can come at random, one state after the other.
func TestEnoughKeepFullWeight(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		rules := Rules{VIP: netip.MustParseAddr("10.9.0.10"), Ports: []int32{80, 443}, MustStay: random.IntN(5), Drain: 30 * time.Second}
		var servers []v1alpha1.RealServer
		at := now
		for range 20 {
			at = at.Add(time.Duration(random.IntN(20)) * time.Second)
			routers := randomRouters(random, at)
			after, again := RealServers(servers, routers, rules, at)
			if twice, _ := RealServers(after, routers, rules, at); told(twice) != told(after) {
				t.Fatalf("the same again is another: %q, %q", told(twice), told(after))
			}
			checkWeights(t, servers, after, routers, rules, at)
			if again < 0 || again > rules.Drain {
				t.Fatalf("again after %s", again)
			}
			servers = after
		}
	}
}

func randomRouters(random *rand.Rand, at time.Time) (all []Router) {
	for i := range random.IntN(8) {
		r := Router{Name: fmt.Sprint(i), Addresses: []string{fmt.Sprintf("10.0.0.%d", i)}, Ready: random.IntN(3) > 0, Lagging: random.IntN(2) == 0}
		if random.IntN(4) == 0 {
			r.Leaving, r.LeaveBegan = true, at.Add(-time.Duration(random.IntN(60))*time.Second)
		}
		if random.IntN(4) == 0 {
			r.Ports = []int32{80, 8081}
		}
		all = append(all, r)
	}
	return all
}

func checkWeights(t *testing.T, before, after []v1alpha1.RealServer, routers []Router, rules Rules, at time.Time) {
	t.Helper()
	weights, was := map[string]int32{}, map[string]int32{}
	for _, s := range after {
		if _, twice := weights[s.Address]; twice {
			t.Fatalf("%s is there twice", s.Address)
		}
		weights[s.Address] = s.Weight
	}
	for _, s := range before {
		was[s.Address] = s.Weight
	}
	ready, full := map[int32]int{}, map[int32]int{}
	for _, r := range routers {
		ports := r.Ports
		if ports == nil {
			ports = rules.Ports
		}
		for _, port := range ports {
			address := fmt.Sprintf("%s:%d", r.Addresses[0], port)
			weight, there := weights[address]
			delete(weights, address)
			_, hadFirst := was[fmt.Sprintf("%s:%d", r.Addresses[0], slices.Min(ports))]
			switch {
			case r.Leaving && there && weight != 0:
				t.Fatalf("%s leaves with weight %d", address, weight)
			case r.Leaving && hadFirst && !there && at.Sub(r.LeaveBegan) < rules.Drain:
				t.Fatalf("%s is gone before its drain is over", address)
			case r.Ready && !r.Leaving && (!there || weight == 0):
				t.Fatalf("%s is ready and has nothing", address)
			case r.Ready && !r.Leaving && weight < FullWeight && !r.Lagging:
				t.Fatalf("%s has %d for nothing", address, weight)
			}
			if r.Ready && !r.Leaving {
				ready[port]++
				if weight == FullWeight {
					full[port]++
				}
			}
		}
	}
	if len(weights) > 0 {
		t.Fatalf("real servers without a pod: %v", weights)
	}
	for port, n := range ready {
		if full[port] < min(n, max(rules.MustStay, 1)) {
			t.Fatalf("at port %d %d of %d ready have full weight, %d must: %q", port, full[port], n, rules.MustStay, told(after))
		}
	}
}
