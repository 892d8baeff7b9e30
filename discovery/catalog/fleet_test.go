package catalog_test

import (
	"fmt"
	"strings"
	"testing"
)

func TestTheFleetShowsStragglersAndOddOnes(t *testing.T) {
	g := newGrid(t)
	fleet, err := g.Fleet(g.ctx)
	if err != nil || len(fleet.Members) != 0 || fleet.Revision != 0 {
		t.Fatalf("an empty fleet is %+v, %v", fleet, err)
	}
	f := func(id, value string) { g.put("fleet/"+id, value) }
	f("r3", `{"id":"r3","revision":9000000000,"hash":"aa","ageSeconds":0.5,"problems":2,"address":"127.0.0.1:8080","started":"2026-01-02T03:04:05Z"}`)
	f("r1", `{"id":"r1","revision":9000000000,"hash":"aa"}`)
	f("r2", `{"id":"r2","revision":9000000000,"hash":"bb"}`)
	f("r4", `{"id":"r4","revision":8999999999,"hash":"cc"}`)
	f("r5", `[]`)
	f("r6", `{"id":"another","revision":9000000000,"hash":"aa","behind":true,"fault":"?"}`)
	f("r7", `{"id":"r7","revision":8999999998,"hash":"aa"}`) // started after a deletion: the same documents
	fleet, err = g.Fleet(g.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if fleet.Revision != 9_000_000_000 {
		t.Errorf("the newest revision is %d", fleet.Revision)
	}
	want := []struct {
		id               string
		behind, disagree bool
		fault            bool
	}{{"r1", false, false, false}, {"r2", false, true, false}, {"r3", false, false, false}, {"r4", true, false, false}, {"r5", false, false, true}, {"r6", false, false, false}, {"r7", false, false, false}}
	for i, w := range want {
		m := fleet.Members[i]
		if m.ID != w.id || m.Behind != w.behind || m.Disagrees != w.disagree || (m.Fault != "") != w.fault {
			t.Errorf("member %d is %+v, want %+v", i, m, w)
		}
	}
	if m := fleet.Members[2]; m.AgeSeconds != 0.5 || m.Problems != 2 || m.Address != "127.0.0.1:8080" || m.Started.Year() != 2026 {
		t.Errorf("r3 says %+v", m)
	}
}

func TestADocumentNewerThanAllRoutersLeavesThemBehind(t *testing.T) {
	g := newGrid(t)
	g.put("fleet/r1", `{"id":"r1","revision":1,"hash":"aa"}`)
	g.apply(twoDecks)
	fleet, err := g.Fleet(g.ctx)
	if err != nil || !fleet.Members[0].Behind || fleet.Revision < 2 {
		t.Errorf("the fleet is %+v, %v", fleet, err)
	}
}

func TestTwoRoutersThatDifferAreBothMarked(t *testing.T) {
	g := newGrid(t)
	g.put("fleet/r1", `{"id":"r1","revision":5,"hash":"aa"}`)
	g.put("fleet/r2", `{"id":"r2","revision":5,"hash":"bb"}`)
	fleet, err := g.Fleet(g.ctx)
	if err != nil || !fleet.Members[0].Disagrees || !fleet.Members[1].Disagrees {
		t.Errorf("the fleet is %+v, %v", fleet, err)
	}
}

// TestRoutersWithOtherFormsInForceAreNamed has routers store the same documents, and some have
// other forms of them in force.
func TestRoutersWithOtherFormsInForceAreNamed(t *testing.T) {
	f := func(want string, effective ...string) {
		t.Helper()
		g := newGrid(t)
		g.apply(twoDecks)
		newest := g.newest()
		for i, hash := range effective {
			g.put(fmt.Sprintf("fleet/r%d", i+1), fmt.Sprintf(`{"id":"r%d","revision":%d,"hash":"aa","effectiveHash":%q}`, i+1, newest, hash))
		}
		fleet, err := g.Fleet(g.ctx)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for i := range fleet.Members {
			if fleet.Members[i].OtherForms {
				got = append(got, fleet.Members[i].ID)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: %q are named, want %q", effective, got, want)
		}
		if want == "" {
			g.arrives(0, newest)
		} else {
			g.lacks(0, strings.Fields(want)...)
		}
	}
	f("", "x", "x", "x")
	f("", "", "x", "x") // of an earlier version
	f("r2", "x", "y", "x")
	f("r1 r2", "x", "y")
	f("r1 r2 r3", "x", "y", "z")
	f("r3", "x", "x", "y", "x")
}
