package catalog_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"gridrouter.io/discovery/catalog"
)

const all = "deck: east-1"

func TestHostsAreClaimedAndReleasedWithTheirTenant(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks + tenant("acme", "a.example b.example", all))
	g.holds("a.example", "acme")
	g.holds("b.example", "acme")
	plan := g.apply(tenant("acme", "b.example c.example", all))
	c := change(t, plan, "tenants/acme")
	if !slices.Equal(c.Claims, []string{"c.example"}) || !slices.Equal(c.Releases, []string{"a.example"}) {
		t.Errorf("the plan claims %v and releases %v", c.Claims, c.Releases)
	}
	if plan.Transactions != 1 {
		t.Errorf("the change takes %d transactions", plan.Transactions)
	}
	g.holds("a.example", "")
	g.holds("b.example", "acme")
	g.holds("c.example", "acme")
	g.delete("tenants/acme", catalog.DeleteOptions{})
	g.holds("b.example", "")
	g.holds("c.example", "")
	if g.value("docs/tenants/acme") != "" {
		t.Error("the tenant is still there")
	}
}

func TestAHostBelongsToOneTenant(t *testing.T) {
	g := newGrid(t)
	g.refuses(twoDecks+tenant("acme", "a.example", all)+tenant("globex", "b.example A.example", all),
		"grid.yaml:21: tenants/globex: hosts[1]", `belongs to tenant "acme" already (grid.yaml:14)`)
	g.apply(twoDecks + tenant("acme", "a.example", all))
	g.refuses(tenant("globex", "a.example", all), "grid.yaml:2: tenants/globex: hosts[0]", `belongs to tenant "acme" already (etcd)`)
}

// TestOneTenantMayCatchAll claims the hosts that nobody owns, as hosts are claimed.
func TestOneTenantMayCatchAll(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks + tenant("acme", "* a.example", all))
	g.holds("*", "acme")
	g.refuses(tenant("globex", "*", all), "grid.yaml:2: tenants/globex: hosts[0]", `belongs to tenant "acme" already (etcd)`)
	g.apply(tenant("globex", "b.example *.c.example", all)) // needs no delegate of acme's
	g.apply(tenant("acme", "a.example", all) + tenant("globex", "b.example *", all))
	g.holds("*", "globex")
}

func TestAHostMovesBetweenTenantsInOneTransaction(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks + tenant("acme", "a.example b.example", all) + tenant("globex", "c.example", all))
	plan := g.apply(tenant("globex", "c.example a.example", all) + tenant("acme", "b.example", all))
	if plan.Transactions != 1 {
		t.Errorf("the move takes %d transactions", plan.Transactions)
	}
	if c := change(t, plan, "tenants/acme"); !slices.Equal(c.Releases, []string{"a.example"}) {
		t.Errorf("acme releases %v", c.Releases)
	}
	g.holds("a.example", "globex")
	if hosts := g.stored("acme").Hosts; !slices.Equal(hosts, []string{"b.example"}) {
		t.Errorf("acme keeps %v", hosts)
	}
	g.wantEpoch("acme", 1)
}

func TestTwoTenantsSwapTheirHosts(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks + tenant("acme", "a.example", all) + tenant("globex", "b.example", all))
	g.apply(tenant("acme", "b.example", all) + tenant("globex", "a.example", all))
	g.holds("a.example", "globex")
	g.holds("b.example", "acme")
}

func TestStaleClaimsAreTakenOver(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks + tenant("acme", "a.example", all))
	g.put("hosts/gone.example", `{"tenant":"gone"}`)
	g.put("hosts/loose.example", `{"tenant":"acme"}`)
	g.put("hosts/odd.example", `{{{`)
	plan := g.apply(tenant("globex", "gone.example loose.example odd.example", all))
	over := strings.Join(change(t, plan, "tenants/globex").Takeovers, "\n")
	for _, word := range []string{
		`gone.example: claimed by tenant "gone", which does not exist`,
		`loose.example: claimed by tenant "acme", which does not list it`,
		`odd.example: its claim could not be read`,
	} {
		if !strings.Contains(over, word) {
			t.Errorf("the plan does not say %q:\n%s", word, over)
		}
	}
	for _, host := range []string{"gone.example", "loose.example", "odd.example"} {
		g.holds(host, "globex")
	}
}

func TestATenantThatCannotBeReadKeepsItsClaims(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks + tenant("acme", "a.example", all))
	g.put("docs/tenants/acme", `{"kind":`)
	g.refuses(tenant("globex", "a.example", all), `belongs to tenant "acme"`)
}

func TestMissingClaimsAreMadeGood(t *testing.T) {
	g := newGrid(t)
	text := twoDecks + tenant("acme", "a.example", all)
	g.apply(text)
	g.drop("hosts/a.example")
	before := g.value("docs/tenants/acme")
	plan := g.apply(text)
	if plan.Pending() != 1 {
		t.Errorf("%d documents are pending, want 1", plan.Pending())
	}
	g.holds("a.example", "acme")
	if g.value("docs/tenants/acme") != before {
		t.Error("the tenant was written")
	}
}

func TestAHostUnderAnothersWildcardNeedsDelegation(t *testing.T) {
	g := newGrid(t)
	owner := tenant("acme", "*.shop.example", all)
	guest := tenant("globex", "pay.shop.example", all)
	f := func(text string, words ...string) { t.Helper(); g.refuses(text, words...) }
	f(twoDecks+owner+guest, "tenants/globex: hosts[0]", `"pay.shop.example" lies under "*.shop.example" of tenant "acme" (grid.yaml:14)`, "delegates")
	g.apply(twoDecks + owner)
	f(guest, "tenants/globex: hosts[0]", `of tenant "acme" (etcd)`)
	f(tenant("globex", "*.deep.pay.shop.example", all), `"*.deep.pay.shop.example" lies under`)
	g.apply(guest + tenant("acme", "*.shop.example", all, delegates("pay.shop.example")))
	g.holds("pay.shop.example", "globex")
	// While the guest lives there, neither the delegation nor the guest's place can be taken.
	f(owner, "tenants/acme: hosts[0]", `"pay.shop.example" of tenant "globex" (etcd) lies under "*.shop.example"`)
	// Both at once is fine, and so is what a wildcard delegates.
	g.apply(owner + tenant("globex", "other.example", all))
	g.apply(tenant("acme", "*.shop.example", all, delegates("*.pay.shop.example")))
	g.apply(tenant("globex", "x.pay.shop.example", all))
	f(owner, `"x.pay.shop.example" of tenant "globex"`)
}

func TestANewWildcardLooksBelow(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks + tenant("acme", "pay.shop.example", all) + tenant("globex", "*.deep.shop.example", all))
	g.refuses(tenant("initech", "*.shop.example", all),
		`"pay.shop.example" of tenant "acme" (etcd) lies under "*.shop.example"`, `"*.deep.shop.example" of tenant "globex"`)
	g.apply(tenant("initech", "*.shop.example", all, delegates("pay.shop.example *.deep.shop.example")))
	g.holds("*.shop.example", "initech")
}

func TestAStaleWildcardAboveIsClearedAway(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks)
	g.put("hosts/*.shop.example", `{"tenant":"gone"}`)
	plan := g.apply(tenant("acme", "pay.shop.example", all))
	if over := change(t, plan, "tenants/acme").Takeovers; len(over) != 1 || !strings.Contains(over[0], "*.shop.example") {
		t.Errorf("the plan takes over %v", over)
	}
	g.holds("*.shop.example", "")
}

// manyHosts lists hosts of a name, from one number up to another.
func manyHosts(name string, from, to int) string {
	var hosts strings.Builder
	for i := from; i < to; i++ {
		fmt.Fprintf(&hosts, "h%04d.%s.example ", i, name)
	}
	return hosts.String()
}

func TestMoreHostsThanATransactionHolds(t *testing.T) {
	g := newGrid(t)
	plan := g.apply(twoDecks + tenant("acme", manyHosts("acme", 0, 700), "key: {header: x}, split: {east-1: 1}"))
	if plan.Transactions < 6 {
		t.Errorf("700 claims took %d transactions", plan.Transactions)
	}
	g.wantClaims("acme", 700)
	g.wantEpoch("acme", 1)
	// Some stay, some go, some come, and the rules change: the epoch is raised once.
	g.apply(tenant("acme", manyHosts("acme", 300, 1000), all))
	g.wantClaims("acme", 700)
	g.wantEpoch("acme", 2)
	// All of them go to another tenant, each with its claim in the transaction that moves it.
	g.apply(tenant("acme", "rest.example", all) + tenant("globex", manyHosts("acme", 300, 1000), all))
	g.wantClaims("acme", 1)
	g.wantClaims("globex", 700)
	plan, err := g.PlanDelete(g.ctx, "tenants/globex", catalog.DeleteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	g.carryOut(plan)
	g.wantClaims("globex", 0)
}

// wantClaims checks that a tenant lists so many hosts, and claims just those.
func (g *grid) wantClaims(name string, want int) {
	g.Helper()
	var claimed []string
	for _, key := range g.all() {
		host, isHost := strings.CutPrefix(key, "hosts/")
		host, _, _ = strings.Cut(host, "@")
		if isHost && g.value("hosts/"+host) == `{"tenant":"`+name+`"}` {
			claimed = append(claimed, host)
		}
	}
	var listed []string
	if want > 0 {
		listed = slices.Sorted(slices.Values(g.stored(name).Hosts))
	}
	if len(claimed) != want || !slices.Equal(claimed, listed) {
		g.Errorf("%s claims %d hosts and lists %d, want %d", name, len(claimed), len(listed), want)
	}
}

func TestAnInterruptedApplyFinishesWhenRunAgain(t *testing.T) {
	g := newGrid(t)
	var text strings.Builder
	text.WriteString(twoDecks)
	for i := range 200 {
		text.WriteString(tenant(fmt.Sprintf("t%03d", i), fmt.Sprintf("a%d.example b%d.example *.w%d.example", i, i, i), all))
	}
	text.WriteString(tenant("big", manyHosts("big", 0, 300), all))
	runs := 0
	for done := false; !done; runs++ {
		if runs > 50 {
			t.Fatal("running again does not finish")
		}
		plan := g.plan(text.String())
		ctx, stop := context.WithCancel(g.ctx)
		steps := 0
		result, err := g.Apply(ctx, plan, func(catalog.Progress) {
			if steps++; steps == 2 {
				stop()
			}
		})
		stop()
		switch {
		case err == nil:
			done = true
		case !errors.Is(err, context.Canceled):
			t.Fatal(err)
		case len(result.Unwritten) == 0 || len(result.Written)+len(result.Unwritten) != plan.Pending():
			t.Fatalf("of %d documents %d are written and %d are not", plan.Pending(), len(result.Written), len(result.Unwritten))
		}
		for _, key := range result.Written {
			if g.value("docs/"+key) == "" {
				t.Fatalf("%s is said to be written", key)
			}
		}
	}
	if runs < 3 {
		t.Errorf("it took %d runs, so that nothing was interrupted", runs)
	}
	g.wantClaims("big", 300)
	if plan := g.plan(text.String()); plan.Pending() != 0 {
		t.Errorf("%d documents still differ", plan.Pending())
	}
}

func TestEveryStepOfALongChangeIsAGoodDocument(t *testing.T) {
	g := newGrid(t)
	good := func(catalog.Progress) {
		if _, err := g.List(g.ctx, "tenants/", func(items []catalog.Item) error {
			for _, item := range items {
				if item.Err != nil {
					t.Errorf("in between: %v", item.Err)
				}
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	}
	f := func(text string) {
		t.Helper()
		plan := g.plan(text)
		if _, err := g.Apply(g.ctx, plan, good); err != nil {
			t.Fatal(err)
		}
		if plan.Transactions < 3 {
			t.Errorf("it took %d transactions", plan.Transactions)
		}
	}
	// The wildcard comes last, and the delegates lie under it; then all is otherwise.
	f(twoDecks + tenant("acme", manyHosts("acme", 0, 300)+" *.shop.example", all, delegates("pay.shop.example")))
	f(tenant("acme", "*.other.example "+manyHosts("acme", 300, 600), all, delegates("pay.other.example")))
	f(tenant("acme", "rest.example", all) + tenant("globex", manyHosts("acme", 300, 600)+" *.other.example", all, delegates("pay.other.example")))
}

func TestPairsThatSwapAreWrittenOnce(t *testing.T) {
	g := newGrid(t)
	pairs := func(first, second string) string {
		var text strings.Builder
		for i := range 40 {
			text.WriteString(tenant(fmt.Sprintf("a%d", i), fmt.Sprintf("%s%d.example", first, i), all))
		}
		for i := range 40 {
			text.WriteString(tenant(fmt.Sprintf("b%d", i), fmt.Sprintf("%s%d.example", second, i), all))
		}
		return text.String()
	}
	g.apply(twoDecks + pairs("x", "y"))
	plan := g.apply(pairs("y", "x"))
	for _, c := range plan.Changes {
		history, err := g.History(g.ctx, c.Key)
		if err != nil || len(history) != 2 {
			t.Errorf("%s has %d records, %v", c.Key, len(history), err)
		}
	}
}

func TestDelegatesAreWrittenBeforeTheirGuestsAndTakenBackAfterThem(t *testing.T) {
	g := newGrid(t)
	f := func(text string, order ...string) {
		t.Helper()
		var got []string
		for _, c := range g.apply(text).Changes {
			got = append(got, strings.TrimPrefix(c.Key, "tenants/"))
		}
		if !slices.Equal(got, order) {
			t.Errorf("written in the order %v, want %v", got, order)
		}
	}
	g.apply(twoDecks + tenant("acme", "*.shop.example", all))
	f(tenant("globex", "pay.shop.example", all)+tenant("acme", "*.shop.example", all, delegates("pay.shop.example")), "acme", "globex")
	f(tenant("acme", "*.shop.example", all)+tenant("globex", "other.example", all), "globex", "acme")
}

func TestATenantReleasesOnlyItsOwnClaims(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks + tenant("acme", "a.example", all) + tenant("globex", "g.example", all))
	g.put("docs/tenants/globex", `{"kind":"Tenant","name":"globex","hosts":["a.example","g.example"],"epoch":1,"rules":[{"name":"all","deck":"east-1"}]}`)
	g.apply(tenant("globex", "g.example", all))
	g.holds("a.example", "acme")
}

func TestOfTwoThatListAHostTheOneThatKeepsItHoldsIt(t *testing.T) {
	both := `{"kind":"Tenant","name":"globex","hosts":["a.example","g.example"],"epoch":1,"rules":[{"name":"all","deck":"east-1"}]}`
	leaves, keeps := tenant("acme", "b.example", all), tenant("globex", "a.example g.example", all)
	for _, text := range []string{leaves + keeps, keeps + leaves} {
		g := newGrid(t)
		g.apply(twoDecks + tenant("acme", "a.example", all))
		g.put("docs/tenants/globex", both)
		g.apply(text)
		g.holds("a.example", "globex")
		g.holds("b.example", "acme")
		g.delete("tenants/globex", catalog.DeleteOptions{})
		g.delete("tenants/acme", catalog.DeleteOptions{})
	}
}

func TestAStaleWildcardAboveManyHostsIsClearedAwayOnce(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks)
	g.put("hosts/*.acme.example", `{"tenant":"gone"}`)
	if plan := g.apply(tenant("acme", manyHosts("acme", 0, 300), all)); plan.Transactions < 3 {
		t.Errorf("it took %d transactions", plan.Transactions)
	}
	g.holds("*.acme.example", "")
	g.wantClaims("acme", 300)
}

func TestWhatMustBeOneTransactionAndFitsNoneIsRefused(t *testing.T) {
	g := newGrid(t)
	large := func(name, hosts string) string {
		var ranges strings.Builder
		for i := range 7_500 {
			fmt.Fprintf(&ranges, "{from: %d, to: %d, deck: east-1},", 10*i, 10*i+5)
		}
		return tenant(name, hosts, "key: {header: x}, ranges: ["+ranges.String()+"]")
	}
	g.apply(twoDecks + large("acme", "a.example b.example"))
	g.apply(large("globex", "c.example"))
	g.refuses(large("acme", "b.example")+large("globex", "c.example a.example"), "too much at once for one transaction", "tenant acme", "smaller parts")
	g.apply(large("acme", "b.example"))
	g.apply(large("globex", "c.example a.example"))
}
