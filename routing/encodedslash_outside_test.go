package routing_test

import "testing"

// TestTenantsThatDifferInEncodedSlashesShareNoPolicy has two tenants whose documents say the same
// but for that, and changes one's mind.
func TestTenantsThatDifferInEncodedSlashesShareNoPolicy(t *testing.T) {
	const rules = "\nrules: [{name: a, match: {path: /a}, deck: east}, {name: rest, deck: west}]\n"
	g := newGrid(t, twoDecks, "kind: Tenant\nname: one\nhosts: [one.test]"+rules, "kind: Tenant\nname: two\nhosts: [two.test]\nencodedSlash: pass"+rules)
	g.want("GET one.test/a%2Fb", "bad_request")
	g.want("GET two.test/a%2Fb", "west") // another segment than /a
	g.want("GET two.test/a/x%2Fy", "east")
	g.want("GET two.test/a/..%2Fb", "bad_request")
	g.want("GET one.test/a/b", "east")
}
