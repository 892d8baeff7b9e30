package catalog_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"

	"gridrouter.io/bench/testkit/etcdtest"
	"gridrouter.io/discovery"
	"gridrouter.io/discovery/catalog"
	"gridrouter.io/routing"
	"gridrouter.io/routing/document"
)

// endpoint is the one etcd of this package's tests; each test has a prefix of its own.
var endpoint string

func TestMain(m *testing.M) {
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "catalog-etcd-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	server, err := etcdtest.Open(dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	endpoint = server.URL
	status := m.Run()
	server.Stop()
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return status
}

// grid is a prefix of its own and a catalog of it.
type grid struct {
	*testing.T
	*catalog.Catalog
	client *clientv3.Client
	prefix string
	ctx    context.Context
}

func newGrid(t *testing.T) *grid {
	t.Helper()
	client, err := discovery.NewClient(discovery.ClientConfig{Endpoints: []string{endpoint}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	// A test that is run again finds nothing of its last run.
	prefix := fmt.Sprintf("/%s-%d/", strings.ReplaceAll(t.Name(), "/", "-"), time.Now().UnixNano())
	return &grid{t, catalog.New(catalog.Config{Client: client, Prefix: prefix, Who: "kim@bastion", Timeout: 20 * time.Second}), client, prefix, t.Context()}
}

// parse reads documents of a YAML text.
func (g *grid) parse(text string) []document.Parsed {
	g.Helper()
	docs, err := catalog.NewReader().ReadFile("grid.yaml", []byte(text))
	if err != nil {
		g.Fatal(err)
	}
	return docs
}

// plan makes a plan that must be possible.
func (g *grid) plan(text string) *catalog.Plan {
	g.Helper()
	plan, err := g.Plan(g.ctx, g.parse(text), catalog.Options{Why: "a test"})
	if err != nil {
		g.Fatalf("plan: %v", err)
	}
	return plan
}

// apply plans and applies, and returns the plan.
func (g *grid) apply(text string) *catalog.Plan {
	g.Helper()
	plan := g.plan(text)
	g.carryOut(plan)
	return plan
}

func (g *grid) carryOut(plan *catalog.Plan) catalog.Result {
	g.Helper()
	result, err := g.Apply(g.ctx, plan, nil)
	if err != nil {
		g.Fatalf("apply: %v", err)
	}
	if len(result.Unwritten) > 0 {
		g.Fatalf("not written: %v", result.Unwritten)
	}
	return result
}

// refuses plans what must be refused with all the words, and shows that nothing was written.
func (g *grid) refuses(text string, words ...string) {
	g.Helper()
	before := g.all()
	_, err := g.Plan(g.ctx, g.parse(text), catalog.Options{})
	g.wantRefusal(err, words...)
	if after := g.all(); !slices.Equal(before, after) {
		g.Errorf("a refused plan wrote: %v", after)
	}
}

func (g *grid) wantRefusal(err error, words ...string) {
	g.Helper()
	var refused *catalog.RefusedError
	if !errors.As(err, &refused) {
		g.Fatalf("got the error %v, want a refusal", err)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			g.Errorf("the refusal does not say %q:\n%v", word, err)
		}
	}
}

func (g *grid) wantConflict(err error, words ...string) {
	g.Helper()
	var conflict *catalog.ConflictError
	if !errors.As(err, &conflict) {
		g.Fatalf("got the error %v, want a conflict", err)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			g.Errorf("the conflict does not say %q: %v", word, err)
		}
	}
}

// all lists all keys and their revisions.
func (g *grid) all() []string {
	g.Helper()
	answer, err := g.client.Get(g.ctx, g.prefix, clientv3.WithPrefix())
	if err != nil {
		g.Fatal(err)
	}
	var keys []string
	for _, kv := range answer.Kvs {
		keys = append(keys, fmt.Sprintf("%s@%d", strings.TrimPrefix(string(kv.Key), g.prefix), kv.ModRevision))
	}
	return keys
}

// value is what a key holds; empty if there is none.
func (g *grid) value(key string) string {
	g.Helper()
	answer, err := g.client.Get(g.ctx, g.prefix+key)
	if err != nil {
		g.Fatal(err)
	}
	if len(answer.Kvs) == 0 {
		return ""
	}
	return string(answer.Kvs[0].Value)
}

// put and drop change etcd behind the catalog's back.
func (g *grid) put(key, value string) {
	g.Helper()
	if _, err := g.client.Put(g.ctx, g.prefix+key, value); err != nil {
		g.Fatal(err)
	}
}

func (g *grid) drop(key string) {
	g.Helper()
	if _, err := g.client.Delete(g.ctx, g.prefix+key); err != nil {
		g.Fatal(err)
	}
}

// holds checks who claims a host; empty: nobody.
func (g *grid) holds(host, tenant string) {
	g.Helper()
	want := ""
	if tenant != "" {
		want = `{"tenant":"` + tenant + `"}`
	}
	if got := g.value("hosts/" + host); got != want {
		g.Errorf("the claim of %s is %q, want %q", host, got, want)
	}
}

// stored returns a tenant as etcd holds it.
func (g *grid) stored(name string) *routing.Tenant {
	g.Helper()
	item, err := g.Get(g.ctx, "tenants/"+name)
	if err != nil {
		g.Fatal(err)
	}
	if item.Err != nil {
		g.Fatal(item.Err)
	}
	return item.Document.(*routing.Tenant)
}

func (g *grid) wantEpoch(name string, epoch uint64) {
	g.Helper()
	if got := g.stored(name).Epoch; got != epoch {
		g.Errorf("the epoch of %s is %d, want %d", name, got, epoch)
	}
}

// change returns the summary of one document in a plan.
func change(t *testing.T, plan *catalog.Plan, key string) catalog.Change {
	t.Helper()
	for _, c := range plan.Changes {
		if c.Key == key {
			return c
		}
	}
	t.Fatalf("the plan does not speak of %s", key)
	return catalog.Change{}
}

// deck is a small deck document, with more fields as given.
func deck(name string, more ...string) string {
	return fmt.Sprintf("---\nkind: Deck\nname: %s\ndomain: %s.deck.example\nattach: direct\naddresses: [127.0.0.1:8080]\n%s\n",
		name, name, strings.Join(more, "\n"))
}

// tenant is a small tenant document whose hosts (separated by blanks) and one rule are given.
func tenant(name, hosts, rule string, more ...string) string {
	return fmt.Sprintf("---\nkind: Tenant\nname: %s\nhosts: [%s]\nrules:\n- {name: all, %s}\n%s\n", name, list(hosts), rule, strings.Join(more, "\n"))
}

// delegates is a field of tenants; the hosts are separated by blanks.
func delegates(hosts string) string { return "delegates: [" + list(hosts) + "]" }

func list(words string) string { return `"` + strings.Join(strings.Fields(words), `", "`) + `"` }

func pin(tenant, key, deck string) string {
	return fmt.Sprintf("---\n{kind: Pin, tenant: %s, key: %q, deck: %s}\n", tenant, key, deck)
}

// delete plans and carries out a deletion.
func (g *grid) delete(key string, options catalog.DeleteOptions) *catalog.Plan {
	g.Helper()
	plan, err := g.PlanDelete(g.ctx, key, options)
	if err != nil {
		g.Fatalf("plan the deletion of %s: %v", key, err)
	}
	g.carryOut(plan)
	return plan
}
