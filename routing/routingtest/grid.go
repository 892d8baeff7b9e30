package routingtest

import (
	"strings"
	"testing"

	"gridrouter.io/routing"
	"gridrouter.io/routing/compile"
	"gridrouter.io/routing/document"
)

// Grid compiles documents the way a router does: read strictly, stored as JSON,
// decoded again under their keys.
type Grid struct {
	t *testing.T
	// Reader reads and decodes the documents.
	Reader *document.Reader
	// Compiler has compiled all that was written.
	Compiler *compile.Compiler
	// Revision is that of the last write.
	Revision int64
	// Stored are the pairs that are stored, by key.
	Stored map[string]compile.Change
	// Table is in force after the last write.
	Table *routing.Table
}

// NewGrid returns a grid of YAML documents, all of which must be valid.
func NewGrid(t *testing.T, documents ...string) *Grid {
	t.Helper()
	reader := document.NewReader()
	g := &Grid{t: t, Reader: reader, Compiler: compile.NewCompiler(reader.Decode), Stored: map[string]compile.Change{}}
	g.Put(documents...)
	return g
}

// Changes reads YAML documents, all of which must be valid.
func (g *Grid) Changes(documents ...string) []compile.Change {
	g.t.Helper()
	var changes []compile.Change
	for _, text := range documents {
		parsed, err := g.Reader.ReadFile("test.yaml", []byte(text))
		if err != nil {
			g.t.Fatalf("%v in\n%s", err, text)
		}
		for _, p := range parsed {
			if p.Err != nil {
				g.t.Fatalf("%v in\n%s", p.Err, text)
			}
			changes = append(changes, compile.Change{Key: p.Key, Value: p.JSON, Origin: "test.yaml"})
		}
	}
	return changes
}

// Put writes valid YAML documents in one update.
func (g *Grid) Put(documents ...string) {
	g.t.Helper()
	g.Apply(g.Changes(documents...)...)
}

// Raw writes a value as it is.
func (g *Grid) Raw(key, value string) {
	g.Apply(compile.Change{Key: key, Value: []byte(value), Origin: "etcd"})
}

// Delete deletes pairs by their keys.
func (g *Grid) Delete(keys ...string) {
	changes := make([]compile.Change, 0, len(keys))
	for _, key := range keys {
		changes = append(changes, compile.Change{Key: key, Deleted: true})
	}
	g.Apply(changes...)
}

// Apply compiles changes at the next revision. A key keeps the revision at which it was created.
func (g *Grid) Apply(changes ...compile.Change) {
	g.Revision++
	for i := range changes {
		change := &changes[i]
		change.Revision = g.Revision
		if change.Deleted {
			delete(g.Stored, change.Key)
			continue
		}
		if change.Created = g.Revision; g.Stored[change.Key].Created > 0 {
			change.Created = g.Stored[change.Key].Created
		}
		g.Stored[change.Key] = *change
	}
	g.Table = Compile(g.t, g.Compiler, compile.Update{Revision: g.Revision, Changes: changes})
}

// Compile returns the table that an update leads to. An error ends the test.
func Compile(t testing.TB, c *compile.Compiler, u compile.Update) *routing.Table {
	t.Helper()
	table, err := c.Compile(u)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// Fresh compiles all that is stored with a new compiler, as a router that starts does.
func (g *Grid) Fresh() *routing.Table {
	return Compile(g.t, compile.NewCompiler(g.Reader.Decode), g.Whole())
}

// Whole returns all that is stored as a whole list.
func (g *Grid) Whole() compile.Update {
	u := compile.Update{Whole: true, Revision: g.Revision}
	for _, change := range g.Stored {
		u.Changes = append(u.Changes, change)
	}
	return u
}

// Deck says who serves a request: a deck's name, or the fault.
func (g *Grid) Deck(text string) string {
	g.t.Helper()
	return Outcome(g.Table.Decide(Request(g.t, text)))
}

// Problems lists the table's problems as "key code".
func (g *Grid) Problems() string {
	list := make([]string, 0, len(g.Table.Problems()))
	for _, p := range g.Table.Problems() {
		list = append(list, p.Key+" "+p.Code)
	}
	return strings.Join(list, ", ")
}

// Want fails the test unless a request leads to a deck, or to the fault of that code.
func (g *Grid) Want(text, deck string) {
	g.t.Helper()
	if got := g.Deck(text); got != deck {
		g.t.Errorf("%s -> %s, want %s", strings.ReplaceAll(text, "\n", " | "), got, deck)
	}
}

// WantProblems fails the test unless [Grid.Problems] are those.
func (g *Grid) WantProblems(want string) {
	g.t.Helper()
	if got := g.Problems(); got != want {
		g.t.Errorf("problems %q, want %q", got, want)
	}
	if n := g.Table.Counts().Problems; n != len(g.Table.Problems()) {
		g.t.Errorf("counts %d problems of %d", n, len(g.Table.Problems()))
	}
}

// View returns what the table holds of a tenant.
func (g *Grid) View(name string) routing.TenantView {
	g.t.Helper()
	view, ok := g.Table.Tenant(name)
	if !ok {
		g.t.Fatalf("the table holds no tenant %s", name)
	}
	return view
}
