package routing_test

import (
	"bufio"
	"net/netip"
	"strings"
	"testing"

	"gridrouter.io/routing"
	"gridrouter.io/routing/document"
)

// grid compiles documents the way a router does: read strictly, stored as JSON,
// decoded again under their keys.
type grid struct {
	t        *testing.T
	reader   *document.Reader
	compiler *routing.Compiler
	revision int64
	stored   map[string]routing.Change
	table    *routing.Table
}

func newGrid(t *testing.T, documents ...string) *grid {
	t.Helper()
	reader := document.NewReader()
	g := &grid{t: t, reader: reader, compiler: routing.NewCompiler(reader.Decode), stored: map[string]routing.Change{}}
	g.put(documents...)
	return g
}

// changes reads YAML documents, all of which must be valid.
func (g *grid) changes(documents ...string) []routing.Change {
	g.t.Helper()
	var changes []routing.Change
	for _, text := range documents {
		parsed, err := g.reader.ReadFile("test.yaml", []byte(text))
		if err != nil {
			g.t.Fatalf("%v in\n%s", err, text)
		}
		for _, p := range parsed {
			if p.Err != nil {
				g.t.Fatalf("%v in\n%s", p.Err, text)
			}
			changes = append(changes, routing.Change{Key: p.Key, Value: p.JSON, Origin: "test.yaml"})
		}
	}
	return changes
}

// put writes valid documents in one update.
func (g *grid) put(documents ...string) {
	g.t.Helper()
	g.apply(g.changes(documents...)...)
}

// raw writes a value as it is.
func (g *grid) raw(key, value string) {
	g.apply(routing.Change{Key: key, Value: []byte(value), Origin: "etcd"})
}

func (g *grid) del(keys ...string) {
	var changes []routing.Change
	for _, key := range keys {
		changes = append(changes, routing.Change{Key: key, Deleted: true})
	}
	g.apply(changes...)
}

func (g *grid) apply(changes ...routing.Change) {
	g.revision++
	for i := range changes {
		change := &changes[i]
		change.Revision = g.revision
		if change.Deleted {
			delete(g.stored, change.Key)
			continue
		}
		if change.Created = g.revision; g.stored[change.Key].Created > 0 {
			change.Created = g.stored[change.Key].Created
		}
		g.stored[change.Key] = *change
	}
	g.table = g.compiler.Compile(routing.Update{Revision: g.revision, Changes: changes})
}

// fresh compiles all that is stored with a new compiler, as a router that starts does.
func (g *grid) fresh() *routing.Table {
	return routing.NewCompiler(g.reader.Decode).Compile(g.whole())
}

func (g *grid) whole() routing.Update {
	u := routing.Update{Whole: true, Revision: g.revision}
	for _, change := range g.stored {
		u.Changes = append(u.Changes, change)
	}
	return u
}

// fields is a request's header for tests.
type fields [][2]string

func (f fields) Field(name string) (value []byte, lines int) {
	for _, line := range f {
		if strings.EqualFold(line[0], name) {
			if lines++; lines == 1 {
				value = []byte(line[1])
			}
		}
	}
	return value, lines
}

func (f fields) Line(name string, n int) []byte {
	for _, line := range f {
		if strings.EqualFold(line[0], name) {
			if n == 0 {
				return []byte(line[1])
			}
			n--
		}
	}
	return nil
}

// request reads "GET shop.acme.example/x?y=1", then header lines; a line "@1.2.3.4" is
// the client's address.
func request(t *testing.T, text string) *routing.Request {
	t.Helper()
	r := &routing.Request{ClientIP: netip.MustParseAddr("192.0.2.1")}
	var header fields
	lines := bufio.NewScanner(strings.NewReader(strings.TrimSpace(text)))
	for first := true; lines.Scan(); first = false {
		line := lines.Text()
		switch {
		case first:
			method, target, ok := strings.Cut(line, " ")
			if !ok {
				t.Fatalf("%q is no request", line)
			}
			host, path := target, ""
			if at := strings.IndexByte(target, '/'); at >= 0 {
				host, path = target[:at], target[at:]
			}
			path, query, _ := strings.Cut(path, "?")
			r.Method, r.Host, r.Path, r.Query = []byte(method), []byte(host), []byte(path), []byte(query)
		case strings.HasPrefix(line, "@"):
			r.ClientIP = netip.MustParseAddr(line[1:])
		default:
			name, value, _ := strings.Cut(line, ": ")
			header = append(header, [2]string{name, strings.TrimSpace(value)})
		}
	}
	r.Fields = header
	return r
}

// deck says who serves a request: a deck's name, or the fault.
func (g *grid) deck(text string) string {
	g.t.Helper()
	return outcome(g.table.Decide(request(g.t, text)))
}

func outcome(d routing.Decision) string {
	if d.Fault != routing.FaultNone {
		return string(d.Fault)
	}
	return d.Deck.Name
}

// problems lists the table's problems as "key code".
func (g *grid) problems() string {
	var list []string
	for _, p := range g.table.Problems() {
		list = append(list, p.Key+" "+p.Code)
	}
	return strings.Join(list, ", ")
}

func (g *grid) want(text, deck string) {
	g.t.Helper()
	if got := g.deck(text); got != deck {
		g.t.Errorf("%s -> %s, want %s", strings.ReplaceAll(text, "\n", " | "), got, deck)
	}
}

func (g *grid) wantProblems(want string) {
	g.t.Helper()
	if got := g.problems(); got != want {
		g.t.Errorf("problems %q, want %q", got, want)
	}
	if n := g.table.Counts().Problems; n != len(g.table.Problems()) {
		g.t.Errorf("counts %d problems of %d", n, len(g.table.Problems()))
	}
}

const twoDecks = `
kind: Deck
name: east
domain: east.deck.example
attach: direct
addresses: [127.0.0.1:80]
---
kind: Deck
name: west
domain: west.deck.example
attach: direct
addresses: [127.0.0.2:80]
`

func deckDocument(name, more string) string {
	return "kind: Deck\nname: " + name + "\ndomain: " + name + ".deck.example\nattach: direct\naddresses: [127.0.0.9:80]\n" + more
}

// tenant writes a tenant that sends everything to one deck.
func tenant(name, deck string, hosts ...string) string {
	return "kind: Tenant\nname: " + name + "\nhosts: [\"" + strings.Join(hosts, `", "`) + "\"]\nrules: [{name: all, deck: " + deck + "}]\n"
}

// tenant returns what the table holds of a tenant.
func (g *grid) tenant(name string) routing.TenantView {
	g.t.Helper()
	view, ok := g.table.Tenant(name)
	if !ok {
		g.t.Fatalf("the table holds no tenant %s", name)
	}
	return view
}
