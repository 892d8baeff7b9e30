package table

import (
	"bytes"
	"strings"
	"testing"

	"gridrouter.io/discovery/catalog"
	"gridrouter.io/routing"
	"gridrouter.io/routing/compile"
	"gridrouter.io/routing/document"
	"gridrouter.io/routing/routingtest"
)

func someDocuments(t *testing.T, policies int) *documents {
	t.Helper()
	docs, err := newDocuments(policies)
	if err != nil {
		t.Fatal(err)
	}
	return docs
}

func TestDocumentsHaveTheirStoredForm(t *testing.T) {
	docs := someDocuments(t, MostPolicies)
	read := catalog.NewReader()
	f := func(key string, value []byte) {
		t.Helper()
		doc, err := read.Decode(key, value)
		if err != nil {
			t.Fatalf("%s is refused: %v", key, err)
		}
		stored, err := document.Encode(doc)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(stored, value) {
			t.Errorf("%s is\n%s, its stored form is\n%s", key, value, stored)
		}
	}
	for i := range MostPolicies {
		f(docs.tenant(1_000_000+i, i, uint64(i+1)))
	}
	f(docs.plainTenant(7, 99, 3))
	f(docs.pinOf(999, 9_999_999))
	key, value, err := docs.deck(42)
	if err != nil {
		t.Fatal(err)
	}
	f(key, value)
}

func TestEveryPolicyIsAnother(t *testing.T) {
	docs := someDocuments(t, MostPolicies)
	seen := map[string]int{}
	for i := range MostPolicies {
		_, value := docs.tenant(0, i, 1)
		if before, twice := seen[string(value)]; twice {
			t.Fatalf("policies %d and %d are the same", before, i)
		}
		seen[string(value)] = i
	}
}

func TestHostsHaveThirtyBytesAndDiffer(t *testing.T) {
	const n = 20_000
	seen := make(map[string]bool, n)
	for i := range n {
		host := hostOf(i)
		if len(host) != hostBytes {
			t.Fatalf("%s has %d bytes", host, len(host))
		}
		if canonical, err := document.CanonicalHost(host); err != nil || canonical != host {
			t.Fatalf("%s is no canonical host: %q, %v", host, canonical, err)
		}
		seen[host] = true
	}
	if len(seen) != n {
		t.Errorf("%d tenants have %d hosts", n, len(seen))
	}
	if name := tenantName(1234567); len(name) != tenantBytes || name != "t1234567" {
		t.Errorf("a tenant is called %s", name)
	}
}

func TestEpochIsReadFromTheStoredForm(t *testing.T) {
	docs := someDocuments(t, 10)
	_, value := docs.plainTenant(3, 4, 12345)
	if epoch := epochIn(value); epoch != 12345 {
		t.Errorf("%s has the epoch %d", value, epoch)
	}
	if epoch := epochIn([]byte(`{"kind":"Tenant"}`)); epoch != 0 {
		t.Errorf("a document without epoch has %d", epoch)
	}
}

func TestRulesFitTheRequestsThatAreMeasured(t *testing.T) {
	docs := someDocuments(t, MostPolicies)
	compiler := compile.NewCompiler(catalog.NewReader().Decode)
	b := &bench{docs: docs}
	changes, err := b.whole(20)
	if err != nil {
		t.Fatal(err)
	}
	table := routingtest.Compile(t, compiler, compile.Update{Whole: true, Revision: 1, Changes: changes})
	if err := complete(table, 20, 0); err != nil {
		t.Fatal(err)
	}
	if err := checkAll(table, 20); err != nil {
		t.Error(err)
	}
	if err := newAsker().check(table, 20); err == nil || !strings.Contains(err.Error(), string(routing.FaultNoTenant)) {
		t.Errorf("a tenant that is not there is taken for right: %v", err)
	}
}
