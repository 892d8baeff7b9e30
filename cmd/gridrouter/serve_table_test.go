package main

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/bench/testkit/etcdtest"
)

// TestATrulyEmptySourceIsReadyAndOwnsNoHost asks routers whose first list is complete
// and holds nothing.
func TestATrulyEmptySourceIsReadyAndOwnsNoHost(t *testing.T) {
	f := func(source ...string) {
		t.Helper()
		s := startServe(t, append(source, "--access-log", "off")...)
		s.ready(t)
		if status, body := s.ask("/"); status != http.StatusNotFound || !strings.Contains(body, `"fault": "no_tenant"`) {
			t.Errorf("%v: got %d %q", source, status, body)
		}
	}
	f("--routes", t.TempDir())
	f("--etcd", etcdtest.Start(t).URL)
}

// shownTable is what /table says that must be alike on all routers.
type shownTable struct {
	Revision            int64
	Hash, EffectiveHash string
	Counts              struct{ Tenants, Hosts, Decks, Pins, Problems int }
}

func (s *served) table(t *testing.T) (shown shownTable) {
	t.Helper()
	if status, body := fetch(s.admin + "/table"); status != http.StatusOK || json.Unmarshal([]byte(body), &shown) != nil {
		t.Fatalf("/table: %d %s", status, body)
	}
	return shown
}

// TestOnlyWhatIsUnderDocsCounts writes beside the documents what else lives under the
// prefix: neither the revision nor the hashes of a table know of it, so that a router that
// starts later shows the same ones.
func TestOnlyWhatIsUnderDocsCounts(t *testing.T) {
	addr := etcdtest.Start(t).Addr
	client := etcdClient(t, addr)
	put := func(key, value string) int64 {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		answer, err := client.Put(ctx, "/gridrouter/"+key, value)
		if err != nil {
			t.Fatal(err)
		}
		return answer.Header.Revision
	}
	beside := func() {
		t.Helper()
		for _, key := range []string{"hosts/acme.example", "changes/tenants/acme/000000000001", "fleet/nobody", "guard/held", "docsx/tenants/a"} {
			put(key, `{"kind": "Tenant"}`)
		}
	}
	putDocuments(t, addr, deckYAML("d1", startDeck(t, "one"))+tenantYAML("d1"))
	beside()
	first := startServe(t, "--etcd", "http://"+addr, "--access-log", "off")
	first.ready(t)
	if got, want := first.table(t).Revision, newestDocument(t, client); got != want {
		t.Errorf("a router that starts shows revision %d, the newest document is of %d", got, want)
	}
	bad := put("docs/tenants/bad", `{"kind": "Tenant"}`)
	beside()
	testkit.Eventually(t, "the bad document is counted", func() bool { return first.table(t).Revision == bad })
	second := startServe(t, "--etcd", "http://"+addr, "--access-log", "off", "--router-id", "r2")
	second.ready(t)
	one, two := first.table(t), second.table(t)
	if one != two || one.Counts.Problems != 1 || one.Counts.Tenants != 2 || one.Hash == one.EffectiveHash {
		t.Errorf("two routers show\n%+v\n%+v", one, two)
	}
}

// newestDocument is the newest revision under docs/.
func newestDocument(t *testing.T, client *clientv3.Client) int64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	answer, err := client.Get(ctx, "/gridrouter/docs/", append(clientv3.WithLastRev(), clientv3.WithPrefix())...)
	if err != nil || len(answer.Kvs) != 1 {
		t.Fatalf("%v, %v", answer, err)
	}
	return answer.Kvs[0].ModRevision
}
