package compile_test

import (
	"testing"

	"gridrouter.io/routing/compile"
	"gridrouter.io/routing/document"
	"gridrouter.io/routing/routingtest"
)

// TestATenantThatComesWithAPinsDeletionSetsItsOtherPinsRight has one batch with a tenant, and with as many
// changes of pins as there are pins, one of which is a deletion.
func TestATenantThatComesWithAPinsDeletionSetsItsOtherPinsRight(t *testing.T) {
	c := compile.NewCompiler(document.NewReader().Decode)
	put := func(key, value string, revision int64) compile.Change {
		return compile.Change{Key: key, Value: []byte(value), Revision: revision, Created: revision}
	}
	pin := func(tenant, key string) string {
		return `{"kind":"Pin","tenant":"` + tenant + `","key":"` + key + `","deck":"d"}`
	}
	first := compile.Update{Revision: 1, Changes: []compile.Change{
		put("decks/d", `{"kind":"Deck","name":"d","domain":"d.example","attach":"mesh"}`, 1),
		put("pins/t/1", pin("t", "1"), 1), put("pins/u/1", pin("u", "1"), 1),
	}}
	if n := routingtest.Compile(t, c, first).Counts().Problems; n != 2 {
		t.Fatalf("%d problems before the tenant is there", n)
	}
	table := routingtest.Compile(t, c, compile.Update{Revision: 2, Changes: []compile.Change{
		put("tenants/t", `{"kind":"Tenant","name":"t","hosts":["t.example"],"epoch":1,"rules":[{"name":"users","key":{"header":"x"},"pins":true,"split":{"d":1}}]}`, 2),
		{Key: "pins/u/1", Deleted: true, Revision: 2}, // and no other pin is in the batch
	}})
	if problems := table.Problems(); len(problems) != 0 {
		t.Errorf("problems %v", problems)
	}
}
