package history

import (
	"fmt"
	"testing"

	"gridrouter.io/routing/compile"
	"gridrouter.io/routing/document"
	"gridrouter.io/routing/routingtest"
)

// TestKeptTablesAreBounded adds more than is kept.
func TestKeptTablesAreBounded(t *testing.T) {
	compiler := compile.NewCompiler(document.NewReader().Decode)
	var kept Tables
	for n := range maxTables + 10 {
		kept.Add(routingtest.Compile(t, compiler, compile.Update{Revision: int64(n + 1), Whole: true}))
	}
	if got := kept.Count(); got != maxTables {
		t.Errorf("%d tables are kept, want %d", got, maxTables)
	}
	if _, _, err := kept.At(10); err == nil {
		t.Error("a table that should have gone answers")
	}
	if table, _, err := kept.At(11); err != nil || table.Revision() != 11 {
		t.Errorf("the oldest that is kept: %v", err)
	}
}

// TestKeptTablesAreBoundedInBytes replaces a large part of the table again and again.
func TestKeptTablesAreBoundedInBytes(t *testing.T) {
	compiler := compile.NewCompiler(document.NewReader().Decode)
	update := compile.Update{Whole: true}
	const pins, most = 500, 1 << 20
	for i := range pins {
		key := fmt.Sprint("pins/acme/", i)
		update.Changes = append(update.Changes, compile.Change{Key: key})
	}
	kept := Tables{mostBytes: most}
	heaviest, total := 0, 0
	for n := range 200 {
		update.Revision = int64(n + 1)
		for i := range update.Changes {
			update.Changes[i].Value = fmt.Appendf(nil, `{"kind":"Pin","tenant":"acme","key":"%d","deck":"d%d"}`, i, n%7)
			update.Changes[i].Revision = update.Revision
		}
		table := routingtest.Compile(t, compiler, update)
		kept.Add(table)
		heaviest, total = max(heaviest, table.Weight()), total+table.Weight()
		if update.Whole = false; total > 3*most {
			break
		}
	}
	others := 0
	for _, table := range kept.tables[1:] {
		others += table.Weight()
	}
	t.Logf("%d tables of at most %d bytes are kept, %d bytes of %d", kept.Count(), heaviest, others, total)
	if total <= most {
		t.Fatalf("only %d bytes were published: the test does not see enough", total)
	}
	if others != kept.bytes || others > most || others+heaviest < most {
		t.Errorf("%d bytes are kept, counted as %d, want up to %d", others, kept.bytes, most)
	}
}
