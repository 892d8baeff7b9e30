package lab_test

import (
	"strings"
	"testing"
)

// TestTheCampaignsModelSeesWhatIsWrong holds the model to what it is for: it lets through what a
// router may do, and names what it may not.
func TestTheCampaignsModelSeesWhatIsWrong(t *testing.T) {
	m := newModel([]string{"r1"})
	m.add("acme", resident, form{deck: "a"}, 1)
	end := func(f form, epoch uint64, as outcome) {
		m.end(m.begin("acme", f, "a test", as), epoch, as)
	}
	end(form{deck: "b"}, 2, acknowledged)
	end(form{deck: "c"}, 3, refused)
	end(form{deck: "d"}, 3, held)
	end(form{deck: "b"}.with("k", "e"), 3, acknowledged)
	end(form{deck: "f"}, 0, pending)
	f := func(wrong string, since int, key, deck string, epoch uint64) {
		t.Helper()
		got := m.judge(sight{router: "r1", tenant: "acme", key: key, since: since, deck: deck, meant: deck, of: "acme", epoch: epoch})
		if (got == "") != (wrong == "") || !strings.Contains(got, wrong) {
			t.Errorf("the verdict is %q, want %q", got, wrong)
		}
	}
	f("", 0, "k", "a", 1)           // nobody has told it yet
	f("", 0, "k", "b", 2)           //
	f("WRONG DECK", 1, "k", "a", 1) // it knew better
	f("WRONG DECK", 0, "k", "a", 2) // not at that epoch
	f("WRONG DECK", 0, "k", "c", 3) // it was refused
	f("WRONG DECK", 0, "k", "d", 3) // it is held
	f("", 0, "k", "e", 3)
	f("WRONG DECK", 0, "other", "e", 3) // another key's pin
	f("", 0, "k", "f", 4)               // perhaps it is done
	f("WRONG DECK", 0, "k", "g", 4)
	if got := m.judge(sight{router: "r1", tenant: "acme", deck: "a", meant: "a", of: "another", epoch: 1}); !strings.Contains(got, "another") {
		t.Errorf("a request that was taken for another tenant's: %q", got)
	}
	odd := sight{router: "r1", tenant: "acme", deck: "a", meant: "a", of: oddTenant}
	if got := m.judge(odd); !strings.Contains(got, oddTenant) {
		t.Errorf("an odd document's tenant was given the host of one that is there: %q", got)
	}
	m.add("gone", resident, form{}, 1)
	if odd.tenant = "gone"; m.judge(odd) != "" {
		t.Errorf("an odd document's tenant may not own a host that nobody else has: %q", m.judge(odd))
	}
	if since := m.since("r1", "acme"); since != 4 {
		t.Errorf("what was seen of the router is attempt %d", since)
	}
	if wrong := m.resolve(map[string]stored{"acme": {form{deck: "b"}, 2}}); len(wrong) != 1 || !strings.Contains(wrong[0], "LOST") {
		t.Errorf("a lost write: %q", wrong)
	}
	if wrong := m.resolve(map[string]stored{"acme": {form{deck: "b"}.with("k", "e"), 3}}); len(wrong) > 0 {
		t.Errorf("nothing is lost: %q", wrong)
	}
}
