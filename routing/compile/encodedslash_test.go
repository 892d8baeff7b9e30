package compile_test

import (
	"testing"

	"gridrouter.io/routing/routingtest"
)

// TestTenantsThatDifferInEncodedSlashesShareNoPolicy has two tenants whose documents say the same
// but for that, and changes one's mind.
func TestTenantsThatDifferInEncodedSlashesShareNoPolicy(t *testing.T) {
	const rules = "\nrules: [{name: a, match: {path: /a}, deck: east}, {name: rest, deck: west}]\n"
	g := routingtest.NewGrid(t, routingtest.TwoDecks, "kind: Tenant\nname: one\nhosts: [one.test]"+rules, "kind: Tenant\nname: two\nhosts: [two.test]\nencodedSlash: pass"+rules)
	g.Want("GET one.test/a%2Fb", "bad_request")
	g.Want("GET two.test/a%2Fb", "west") // another segment than /a
	g.Want("GET two.test/a/x%2Fy", "east")
	g.Want("GET two.test/a/..%2Fb", "bad_request")
	g.Want("GET one.test/a/b", "east")
}
