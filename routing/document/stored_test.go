package document_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gridrouter.io/routing"
	"gridrouter.io/routing/document"
)

const goodTenant = `{"kind":"Tenant","name":"acme","hosts":["shop.acme.example"],"rules":[{"name":"all","deck":"east"}]}`

func TestStoredValuesAgreeWithTheirKeys(t *testing.T) {
	reader := document.NewReader()
	f := func(key, value, wantError string) {
		t.Helper()
		_, err := reader.Decode(key, []byte(value))
		switch {
		case wantError == "" && err != nil:
			t.Errorf("%s: %v", key, err)
		case wantError != "" && (err == nil || !strings.Contains(err.Error(), wantError)):
			t.Errorf("%s: %v; want %q", key, err, wantError)
		case wantError != "" && !strings.HasPrefix(err.Error(), key):
			t.Errorf("%s: %v does not begin with the key", key, err)
		}
	}
	pin := `{"kind":"Pin","tenant":"acme","key":"100/86","deck":"east"}`
	f("tenants/acme", goodTenant, "")
	f("tenants/globex", goodTenant, "belongs under the key \"tenants/acme\"")
	f("decks/acme", goodTenant, "is Tenant, but the value is stored as a Deck")
	f("pins/acme/100%2F86", pin, "")
	f("pins/acme/100%2f86", pin, "pins/acme/100%2F86")
	f("pins/acme/100/86", pin, "pins/acme/100%2F86")
	f("pins/acme/1", pin, "pins/acme/100%2F86")
	f("pins/acme", pin, "belongs under")
	f("tenants/", goodTenant, "not the key of a document")
	f("tenants", goodTenant, "not the key of a document")
	f("", goodTenant, "not the key of a document")
	f("gslb/a.example", goodTenant, "not the key of a document")
	f("tenants/acme", "", "1:1: is not JSON")
	f("tenants/acme", "kind: Tenant", "is not JSON")
	f("tenants/acme", goodTenant+"{}", "1:101: is not JSON: something follows")
	f("tenants/acme", goodTenant+"\n", "")
	f("tenants/acme", "\xff", "UTF-8")
	f("tenants/acme", `{"name":"acme","kind":"Tenant","hosts":["a.example"],"rules":[{"name":"all","deck":"east"}]}`, "first field")
	f("tenants/acme", strings.Repeat(" ", document.MaxDocumentBytes)+goodTenant, "more than 1048576 bytes")
	f("tenants/acme", strings.Repeat("[", 100), "nests deeper")
}

func TestABadTenantStillTellsItsHosts(t *testing.T) {
	doc, err := document.NewReader().Decode("tenants/acme", []byte(
		`{"kind":"Tenant","name":"acme","hosts":["Shop.Acme.Example.","a b.example",7,"*.acme.example"],"rulez":[]}`))
	tenant, ok := doc.(*routing.Tenant)
	if err == nil || !ok {
		t.Fatalf("got %v, %v; want a tenant and an error", doc, err)
	}
	want := []string{"shop.acme.example", "", "", "*.acme.example"}
	if diff := cmp.Diff(want, tenant.Hosts); diff != "" {
		t.Errorf("hosts: -want +got:\n%s", diff)
	}
}

func TestErrorsTellFilePlaceAndField(t *testing.T) {
	parsed, err := document.NewReader().ReadFile("a.yaml", []byte("kind: Pin\ntenant: acme\nkey: \"1\"\ndeck: [x]\n"))
	if err != nil {
		t.Fatal(err)
	}
	var placed *document.Error
	if !errors.As(parsed[0].Err, &placed) {
		t.Fatalf("%v is no *document.Error", parsed[0].Err)
	}
	want := &document.Error{File: "a.yaml", Line: 4, Column: 7, Path: "deck", Message: "is a list, where text is wanted"}
	if diff := cmp.Diff(want, placed); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if placed.FieldPath() != "deck" {
		t.Errorf("the field's path is %q", placed.FieldPath())
	}
	f := func(e document.Error, want string) {
		t.Helper()
		if e.Error() != want {
			t.Errorf("got %q, want %q", e.Error(), want)
		}
	}
	f(document.Error{Message: "m"}, "m")
	f(document.Error{Path: "p", Message: "m"}, "p: m")
	f(document.Error{Line: 1, Column: 2, Message: "m"}, "1:2: m")
	f(document.Error{File: "f", Message: "m"}, "f: m")
	f(document.Error{File: "f", Line: 1, Column: 2, Path: "p", Message: "m"}, "f:1:2: p: m")
}
