package main

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/bench/testkit/etcdtest"
	"gridrouter.io/discovery"
	"gridrouter.io/discovery/catalog"
)

// rights is one row of the table in docs/FOLLOWING.md.
type rights struct {
	who         string
	read, write []string
}

// rightsOfTheDocs reads the table.
func rightsOfTheDocs(t *testing.T) (rows []rights) {
	t.Helper()
	page, err := os.ReadFile("../../docs/FOLLOWING.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(page), "## Rights in etcd")
	if !found {
		t.Fatal("the page has no table of rights")
	}
	prefix := regexp.MustCompile("`([a-z/]+/)`")
	for _, row := range regexp.MustCompile(`(?m)^\| (.+) \| (.+) \| (.*) ?\|$`).FindAllStringSubmatch(section, -1) {
		if !strings.Contains(row[1], "grid") {
			continue
		}
		one := rights{who: row[1]}
		for _, match := range prefix.FindAllStringSubmatch(row[2], -1) {
			one.read = append(one.read, match[1])
		}
		for _, match := range prefix.FindAllStringSubmatch(row[3], -1) {
			one.write = append(one.write, match[1])
		}
		rows = append(rows, one)
	}
	return rows
}

// rightsNames are the users that have the rights of one row each, in the order of the table.
var rightsNames = []string{"serve", "gslb", "get", "fleet", "apply", "accept"}

// grantRights makes root and the users, gives each the rights of its row, and turns authentication on.
// All have the same password.
func grantRights(ctx context.Context, t *testing.T, root *clientv3.Client, rows []rights, password string) {
	t.Helper()
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(root.RoleAdd(ctx, "root"))
	must(root.UserAdd(ctx, "root", password))
	must(root.UserGrantRole(ctx, "root", "root"))
	if len(rows) != len(rightsNames) {
		t.Fatalf("the table has %d rows, want %d", len(rows), len(rightsNames))
	}
	for i, row := range rows {
		name := rightsNames[i]
		if !strings.Contains(row.who, name) {
			t.Fatalf("row %d is of %s, want %s", i, row.who, name)
		}
		must(root.RoleAdd(ctx, name))
		if name == "serve" {
			must(root.RoleGrantPermission(ctx, name, "/gridrouter/docs/", "/gridrouter/guard0", clientv3.PermissionType(clientv3.PermRead)))
			row.read = nil
		}
		grant := func(prefixes []string, kind clientv3.PermissionType) {
			for _, prefix := range prefixes {
				key := "/gridrouter/" + prefix
				must(root.RoleGrantPermission(ctx, name, key, clientv3.GetPrefixRangeEnd(key), kind))
			}
		}
		grant(row.read, clientv3.PermissionType(clientv3.PermRead))
		grant(row.write, clientv3.PermissionType(clientv3.PermReadWrite)) // last: of one range the last grant counts
		must(root.UserAdd(ctx, name, password))
		must(root.UserGrantRole(ctx, name, name))
	}
	must(root.AuthEnable(ctx))
}

// TestTheRightsThatAreWrittenDownAreEnough gives real users of etcd the rights of each row, and has
// each do what the row is about.
func TestTheRightsThatAreWrittenDownAreEnough(t *testing.T) {
	etcd := etcdtest.Start(t)
	addr, url := etcd.Addr, etcd.URL
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	putDocuments(t, addr, deckYAML("d1", startDeck(t, "one"))+deckYAML("d2", "127.0.0.1:2")+tenantYAML("d1")+
		"---\nkind: Gslb\nname: a.grid.example\nvips: [{address: 10.0.0.1}]\n")
	password := filepath.Join(t.TempDir(), "password")
	writeFile(t, password, "secret\n")
	rows := rightsOfTheDocs(t)
	grantRights(ctx, t, etcdClient(t, addr), rows, "secret")
	users := map[string]*catalog.Catalog{}
	for _, name := range rightsNames {
		client, err := discovery.NewClient(discovery.ClientConfig{Endpoints: []string{url}, User: name, PasswordFile: password}, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = client.Close() })
		users[name] = catalog.New(catalog.Config{Client: client, Prefix: "/gridrouter/", Who: name, Timeout: patience})
	}

	s := startServe(t, "--etcd", url, "--etcd-user", "serve", "--etcd-password-file", password, "--access-log", "off")
	s.becomes(t, "one ")
	gslb := startGslb(t, "--etcd", url, "--etcd-user", "gslb", "--etcd-password-file", password, "--listen", "127.0.0.1:0", "--origin", "grid.example")
	dns := gslb.await(t, "answering DNS")["addr"].(string)
	wantAnswer(t, dns, "a.grid.example", "10.0.0.1")
	testkit.Eventually(t, "the GSLB server is shown", func() bool {
		state, err := users["fleet"].GuardState(ctx)
		must(nil, err)
		return state.GslbServers == 1
	})

	get := users["get"]
	must(get.Get(ctx, "tenants/acme"))
	must(get.List(ctx, "decks/", func([]catalog.Item) error { return nil }))
	must(get.History(ctx, "tenants/acme"))
	must(get.Update(ctx))
	plan := func(who *catalog.Catalog, text string, options catalog.Options) *catalog.Plan {
		t.Helper()
		docs, err := who.Reader().ReadFile("docs.yaml", []byte(text))
		must(nil, err)
		plan, err := who.Plan(ctx, docs, options)
		must(nil, err)
		return plan
	}
	plan(get, tenantYAML("d2"), catalog.Options{}) // as diff does

	fleet := users["fleet"]
	testkit.Eventually(t, "the router is in the fleet", func() bool {
		state, err := fleet.Fleet(ctx)
		must(nil, err)
		return len(state.Members) == 1
	})
	must(fleet.GuardState(ctx))
	must(fleet.Await(ctx, 0, nil))

	apply := users["apply"]
	must(apply.Apply(ctx, plan(apply, tenantYAML("d2"), catalog.Options{}), nil))
	must(apply.Apply(ctx, plan(apply, tenantYAML("d1"), catalog.Options{AllowMassChange: true}), nil))
	must(apply.Rewound(ctx))

	accept := users["accept"]
	must(accept.GuardAccept(ctx, 2, "it is meant"))
	discard, err := accept.PlanDiscard(ctx, 3, catalog.Options{})
	must(nil, err)
	must(accept.Apply(ctx, discard, nil))
	s.becomes(t, "one ")

	// And no more than that: who may only read writes nothing.
	if _, err := get.Apply(ctx, plan(get, tenantYAML("d2"), catalog.Options{}), nil); err == nil {
		t.Error("who may read documents changed one")
	}
	if slices.Contains(rows[1].read, "docs/") {
		t.Error("gslb is given more than its own documents")
	}
	must(nil, users["serve"].RecordEpochs(ctx, map[string]uint64{"acme": 1}))
}
