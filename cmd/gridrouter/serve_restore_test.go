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

// TestARestoreOfEtcdSplitsNoFleet restores an old etcd under routers that have seen newer epochs,
// and starts a new router: none serves the tenant from the deck of the backup until the restore is
// settled; then all do.
func TestARestoreOfEtcdSplitsNoFleet(t *testing.T) {
	old := etcdtest.Start(t)
	oldAddr, url := old.Addr, old.URL
	one, two := startDeck(t, "one"), startDeck(t, "two")
	grid := func() *catalog.Catalog {
		return catalog.New(catalog.Config{Client: etcdClient(t, oldAddr), Prefix: "/gridrouter/", Who: "kim@bastion", Timeout: patience})
	}
	apply := func(c *catalog.Catalog, text string) {
		t.Helper()
		docs, err := c.Reader().ReadFile("docs.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		plan, err := c.Plan(t.Context(), docs, catalog.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Apply(t.Context(), plan, nil); err != nil {
			t.Fatal(err)
		}
	}
	decks := deckYAML("d1", one) + deckYAML("d2", two)
	other := "kind: Tenant\nname: other\nhosts: [other.example]\nrules: [{name: all, deck: d1}]\n---\n"
	apply(grid(), decks+other+tenantYAML("d1"))
	backup := map[string]string{}
	answer, err := etcdClient(t, oldAddr).Get(t.Context(), "/gridrouter/", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range answer.Kvs {
		backup[string(kv.Key)] = string(kv.Value)
	}
	veteran := startServe(t, "--etcd", url, "--router-id", "veteran", "--access-log", "off")
	veteran.becomes(t, "one ")
	for i := range 5 { // the epoch rises, and the tenant ends on d2
		apply(grid(), tenantYAML([]string{"d2", "d1"}[i%2]))
	}
	veteran.becomes(t, "two ")

	old.Stop()
	etcdtest.Start(t, etcdtest.At(oldAddr))
	ops := []clientv3.Op{}
	for key, value := range backup {
		ops = append(ops, clientv3.OpPut(key, value))
	}
	if _, err := etcdClient(t, oldAddr).Txn(t.Context()).Then(ops...).Commit(); err != nil {
		t.Fatal(err)
	}
	seen := ""
	testkit.Eventually(t, "the veteran writes down what it has seen", func() bool {
		answer, err := etcdClient(t, oldAddr).Get(t.Context(), "/gridrouter/guard/epochs/", clientv3.WithPrefix())
		if err != nil || len(answer.Kvs) != 1 {
			return false
		}
		seen = string(answer.Kvs[0].Value)
		return true
	})
	if !strings.HasPrefix(seen, `{"acme":`) || strings.Contains(seen, "other") {
		t.Errorf("written down is %s, want the epoch of acme alone", seen)
	}
	veteran.becomes(t, "two ") // it keeps what it has
	recruit := startServe(t, "--etcd", url, "--router-id", "recruit", "--access-log", "off")
	recruit.ready(t)
	if status, body := recruit.ask("/"); status != http.StatusServiceUnavailable || !strings.Contains(body, "tenant_invalid") {
		t.Errorf("a router that never saw the tenant answers %d %s", status, body)
	}
	if _, body := fetch(recruit.admin + "/problems"); !strings.Contains(body, "epoch_rewound") {
		t.Errorf("its problems are %s", body)
	}
	c := grid()
	testkit.Eventually(t, "the fleet is told to be split", func() bool {
		fleet, err := c.Fleet(t.Context())
		return err == nil && len(fleet.Members) == 2 && fleet.Members[0].OtherForms && fleet.Members[1].OtherForms
	})

	rewound, err := c.Rewound(t.Context())
	if err != nil || len(rewound) != 1 || rewound[0].Tenant != "acme" || rewound[0].Stored >= rewound[0].Seen {
		t.Errorf("set back are %+v, %v", rewound, err)
	}
	plan, err := c.PlanRestored(t.Context(), catalog.Options{})
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
	// What is written later goes on above it, also by the file that is stored already.
	apply(c, tenantYAML("d2"))
	veteran.becomes(t, "two ")
	recruit.becomes(t, "two ")
	stored, err := c.Get(t.Context(), "tenants/acme")
	if err != nil || !strings.Contains(string(stored.Value), fmt.Sprintf(`"epoch":%d`, rewoundEpoch(seen)+2)) {
		t.Errorf("stored is %s, %v", stored.Value, err)
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
