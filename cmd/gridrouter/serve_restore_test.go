package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/bench/testkit/etcdtest"
	"gridrouter.io/discovery/catalog"
)

// restorable is an etcd of which there is a backup.
type restorable struct {
	t         *testing.T
	etcd      *etcdtest.Server
	backup    map[string]string
	addr, url string
}

// startRestorable starts an etcd with documents, and makes its backup.
func startRestorable(t *testing.T, documents string) *restorable {
	t.Helper()
	etcd := etcdtest.Start(t)
	r := &restorable{t: t, etcd: etcd, addr: etcd.Addr, url: etcd.URL, backup: map[string]string{}}
	r.apply(documents)
	answer, err := etcdClient(t, r.addr).Get(t.Context(), "/gridrouter/", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range answer.Kvs {
		r.backup[string(kv.Key)] = string(kv.Value)
	}
	return r
}

// restore puts another etcd in its place, with all keys of the backup.
func (r *restorable) restore() {
	r.t.Helper()
	r.etcd.Stop()
	r.etcd = etcdtest.Start(r.t, etcdtest.At(r.addr))
	ops := []clientv3.Op{}
	for key, value := range r.backup {
		ops = append(ops, clientv3.OpPut(key, value))
	}
	if _, err := etcdClient(r.t, r.addr).Txn(r.t.Context()).Then(ops...).Commit(); err != nil {
		r.t.Fatal(err)
	}
}

func (r *restorable) grid() *catalog.Catalog {
	return catalog.New(catalog.Config{Client: etcdClient(r.t, r.addr), Prefix: "/gridrouter/", Who: "kim@bastion", Timeout: patience})
}

// apply writes documents as gridctl does.
func (r *restorable) apply(text string) {
	r.t.Helper()
	c := r.grid()
	docs, err := c.Reader().ReadFile("docs.yaml", []byte(text))
	if err != nil {
		r.t.Fatal(err)
	}
	plan, err := c.Plan(r.t.Context(), docs, catalog.Options{})
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := c.Apply(r.t.Context(), plan, nil); err != nil {
		r.t.Fatal(err)
	}
}

// seen waits until routers have written down which epochs they have seen.
func (r *restorable) seen() (record string) {
	r.t.Helper()
	testkit.Eventually(r.t, "a router writes down what it has seen", func() bool {
		answer, err := etcdClient(r.t, r.addr).Get(r.t.Context(), "/gridrouter/guard/epochs/", clientv3.WithPrefix())
		if err != nil || len(answer.Kvs) != 1 {
			return false
		}
		record = string(answer.Kvs[0].Value)
		return true
	})
	return record
}

// TestARestoreOfEtcdSplitsNoFleet restores an old etcd under routers that have seen newer epochs,
// and starts a new router: none serves the tenant from the deck of the backup until the restore is
// settled; then all do.
func TestARestoreOfEtcdSplitsNoFleet(t *testing.T) {
	decks := deckYAML("d1", startDeck(t, "one")) + deckYAML("d2", startDeck(t, "two"))
	other := "kind: Tenant\nname: other\nhosts: [other.example]\nrules: [{name: all, deck: d1}]\n---\n"
	r := startRestorable(t, decks+other+tenantYAML("d1"))
	veteran := startServe(t, "--etcd", r.url, "--router-id", "veteran", "--access-log", "off")
	veteran.becomes(t, "one ")
	for i := range 5 { // the epoch rises, and the tenant ends on d2
		r.apply(tenantYAML([]string{"d2", "d1"}[i%2]))
	}
	veteran.becomes(t, "two ")

	r.restore()
	seen := r.seen()
	if !strings.HasPrefix(seen, `{"acme":`) || strings.Contains(seen, "other") {
		t.Errorf("written down is %s, want the epoch of acme alone", seen)
	}
	veteran.becomes(t, "two ") // it keeps what it has
	recruit := startServe(t, "--etcd", r.url, "--router-id", "recruit", "--access-log", "off")
	recruit.ready(t)
	if status, body := recruit.ask("/"); status != http.StatusServiceUnavailable || !strings.Contains(body, "tenant_invalid") {
		t.Errorf("a router that never saw the tenant answers %d %s", status, body)
	}
	if _, body := fetch(recruit.admin + "/problems"); !strings.Contains(body, "epoch_rewound") {
		t.Errorf("its problems are %s", body)
	}
	r.settles(veteran, recruit)
	// What is written later goes on above it, also by the file that is stored already.
	r.apply(tenantYAML("d2"))
	veteran.becomes(t, "two ")
	recruit.becomes(t, "two ")
	stored, err := r.grid().Get(t.Context(), "tenants/acme")
	if err != nil || !strings.Contains(string(stored.Value), fmt.Sprintf(`"epoch":%d`, rewoundEpoch(seen)+2)) {
		t.Errorf("stored is %s, %v", stored.Value, err)
	}
}

// settles settles a restore that set acme back under two routers, which differ until then.
func (r *restorable) settles(veteran, recruit *served) {
	t, c := r.t, r.grid()
	t.Helper()
	testkit.Eventually(t, "the fleet is told to be split", func() bool {
		fleet, err := c.Fleet(t.Context())
		return err == nil && len(fleet.Members) == 2 && fleet.Members[0].OtherForms && fleet.Members[1].OtherForms
	})
	rewound, err := c.Rewound(t.Context())
	if err != nil || len(rewound) != 1 || rewound[0].Tenant != "acme" || rewound[0].Stored >= rewound[0].Seen {
		t.Errorf("set back are %+v, %v", rewound, err)
	}
	plan, _, err := c.PlanRestored(t.Context(), catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Apply(t.Context(), plan, nil); err != nil {
		t.Fatal(err)
	}
	veteran.becomes(t, "one ")
	recruit.becomes(t, "one ")
	if rewound, err := c.Rewound(t.Context()); err != nil || len(rewound) > 0 {
		t.Errorf("after it was settled: %+v, %v", rewound, err)
	}
	testkit.Eventually(t, "the fleet agrees", func() bool {
		fleet, err := c.Fleet(t.Context())
		return err == nil && len(fleet.Members) == 2 && !fleet.Members[0].OtherForms && !fleet.Members[1].OtherForms && fleet.Members[0].Problems == 0
	})
}

// TestATenantThatABackupLacksIsServedUntilItsLossIsMeant restores a backup that is older than a tenant:
// routers that know it keep it, and say so, and it can be written again or given up.
func TestATenantThatABackupLacksIsServedUntilItsLossIsMeant(t *testing.T) {
	for _, end := range []string{"written again", "given up"} {
		t.Run(end, func(t *testing.T) {
			deck := deckYAML("d1", startDeck(t, "one")) + deckYAML("d2", startDeck(t, "two"))
			r := startRestorable(t, deck+"kind: Tenant\nname: other\nhosts: [other.example]\nrules: [{name: all, deck: d1}]\n")
			veteran := startServe(t, "--etcd", r.url, "--router-id", "veteran", "--access-log", "off")
			r.apply(tenantYAML("d1"))
			r.apply(tenantYAML("d2"))
			r.apply(tenantYAML("d1")) // its epoch is above that of a new one
			veteran.becomes(t, "one ")
			r.restore()
			c, revision := r.grid(), int64(0)
			testkit.Eventually(t, "the guard holds the loss", func() bool {
				state, err := c.GuardState(t.Context())
				revision = state.Revision
				return err == nil && len(state.Holding) == 1 && state.Holding[0].Guard.Held == 1
			})
			veteran.becomes(t, "one ")
			if end == "written again" {
				r.apply(tenantYAML("d1"))
			} else if _, err := c.GuardAccept(t.Context(), revision, "it was a trial"); err != nil {
				t.Fatal(err)
			}
			testkit.Eventually(t, "nothing is held any more", func() bool {
				state, err := c.GuardState(t.Context())
				return err == nil && len(state.Holding) == 0
			})
			if status, body := veteran.ask("/"); (status == http.StatusOK) != (end == "written again") {
				t.Errorf("then it answers %d %s", status, body)
			}
			if end == "given up" { // and made again: above all that was seen of it
				if seen := r.seen(); rewoundEpoch(seen) != 3 {
					t.Errorf("written down is %s, want epoch 3 of acme", seen)
				}
				r.apply(tenantYAML("d2"))
				veteran.becomes(t, "two ")
			}
		})
	}
}

// rewoundEpoch reads the epoch of a record of one tenant.
func rewoundEpoch(record string) (epoch uint64) {
	epochs, err := catalog.DecodeEpochs([]byte(record))
	if err != nil {
		return 0
	}
	return epochs["acme"]
}
