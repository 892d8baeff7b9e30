package compile_test

import (
	"strings"
	"testing"

	"gridrouter.io/routing"
	"gridrouter.io/routing/compile"
	"gridrouter.io/routing/routingtest"
)

// TestAFaultOfTheCompilersOwnIsAnError has a decoder break its contract in an update: the error says
// where, the table in force stays, and the compiler that is rebuilt from it goes on.
func TestAFaultOfTheCompilersOwnIsAnError(t *testing.T) {
	g := routingtest.NewGrid(t, routingtest.TwoDecks, pinnedTenant)
	armed := true
	compiler := compile.NewCompiler(func(key string, value []byte) (any, error) {
		if armed && strings.HasPrefix(key, "pins/") {
			return (*routing.Pin)(nil), nil
		}
		return g.Reader.Decode(key, value)
	})
	before := routingtest.Compile(t, compiler, g.Whole())
	g.Put(routingtest.PinYAML("7", "west"))
	table, err := compiler.Compile(g.Whole())
	if err == nil || table != nil || !strings.Contains(err.Error(), "compilePin") {
		t.Fatalf("%v, %v", table, err)
	}
	if compiler.Last() != before {
		t.Error("the table in force is another one")
	}
	armed = false
	next, err := compiler.Rebuilt()
	if err != nil {
		t.Fatal(err)
	}
	if got := routingtest.Compile(t, next, g.Whole()); got.Hash() != g.Table.Hash() || got.EffectiveHash() != g.Table.EffectiveHash() {
		t.Error("the rebuilt compiler does not get there")
	}
}
