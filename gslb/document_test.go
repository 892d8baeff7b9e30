package gslb

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const fullDocument = `{"kind":"Gslb","name":"orders-west-1.deck.example","ttl":5,"policy":"weighted",` +
	`"vips":[{"address":"10.9.0.1","weight":100,"priority":1,"zone":"west-a"}],` +
	`"check":{"http":{"port":80,"path":"/","host":"x"},"interval":"2s","fall":3,"rise":2}}`

// valid returns a document that is in order, changed by change.
func valid(change ...func(d *Document)) *Document {
	d := &Document{Kind: Kind, Name: "orders.deck.example", VIPs: []VIP{{Address: "10.9.0.1"}, {Address: "10.9.0.2"}}}
	for _, f := range change {
		f(d)
	}
	return d
}

func TestDocumentsKeepTheirJSONForm(t *testing.T) {
	var d Document
	decoder := json.NewDecoder(strings.NewReader(fullDocument))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&d); err != nil {
		t.Fatal(err)
	}
	if d.Check.Interval != Duration(2*time.Second) || *d.VIPs[0].Weight != 100 {
		t.Errorf("decoded %+v", d)
	}
	if text, err := json.Marshal(&d); err != nil || string(text) != fullDocument {
		t.Errorf("encoded %s, error %v; want %s", text, err, fullDocument)
	}
	tcp := `{"tcp":80,"interval":"1m30s"}`
	var check Check
	if err := json.Unmarshal([]byte(tcp), &check); err != nil {
		t.Fatal(err)
	}
	if text, err := json.Marshal(check); err != nil || string(text) != tcp {
		t.Errorf("encoded %s, error %v; want %s", text, err, tcp)
	}
}

func TestDurationsNeedAUnit(t *testing.T) {
	f := func(text string, want time.Duration, fault bool) {
		t.Helper()
		var d Duration
		if err := json.Unmarshal([]byte(text), &d); (err != nil) != fault || time.Duration(d) != want {
			t.Errorf("%s: %v, error %v", text, d, err)
		}
	}
	f(`"500ms"`, 500*time.Millisecond, false)
	f(`"1m30s"`, 90*time.Second, false)
	f(`"2"`, 0, true)
	f(`""`, 0, true)
	f(`2`, 0, true)
}

// wantFault checks that a changed document has exactly one fault, at path, whose message holds the mend.
func wantFault(t *testing.T, path, mend string, change func(d *Document)) {
	t.Helper()
	err := valid(change).Validate()
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok || len(joined.Unwrap()) != 1 {
		t.Errorf("%s: %v; want one fault", path, err)
		return
	}
	var field interface{ FieldPath() string }
	if !errors.As(err, &field) || field.FieldPath() != path || !strings.Contains(err.Error(), mend) {
		t.Errorf("%v; want the path %s and the mend %q", err, path, mend)
	}
}

func TestDocumentFaultsSayWhereAndHowToMend(t *testing.T) {
	f := func(path, mend string, change func(d *Document)) {
		t.Helper()
		wantFault(t, path, mend, change)
	}
	name := func(name string) func(d *Document) { return func(d *Document) { d.Name = name } }
	f("kind", "write Gslb", func(d *Document) { d.Kind = "Deck" })
	f("name", "is missing", name(""))
	f("name", `write "orders.example"`, name("orders.example."))
	f("name", `write "orders.example"`, name("Orders.Example"))
	f("name", "A-label", name("bücher.example"))
	f("name", "absolute name", name("orders"))
	f("name", "is an address", name("10.9.0.1"))
	f("name", "is an address", name("2001:db8::1"))
	f("name", "ends in a number", name("10.9.0"))
	f("name", "empty label", name("orders..example"))
	f("name", "empty label", name(".orders.example"))
	f("name", "use only", name("orders_1.example"))
	f("name", "use only", name("*.orders.example"))
	f("name", "use only", name("orders/1.example"))
	f("name", "hyphen", name("-orders.example"))
	f("name", "at most 63", name(strings.Repeat("a", 64)+".example"))
	f("name", "at most 253", name(strings.Repeat("abcdefg.", 32)+"example"))
	f("name", "RFC 6761", name("orders.localhost"))
	f("ttl", "from 1 to 86400", func(d *Document) { d.TTL = new(0) })
	f("ttl", "from 1 to 86400", func(d *Document) { d.TTL = new(86401) })
	f("policy", "use weighted", func(d *Document) { d.Policy = "random" })
	f("check", "not supported yet", func(d *Document) { d.Check = &Check{TCP: 80} })
	f("vips", "at least one", func(d *Document) { d.VIPs = nil })
	f("vips", "at most 32", func(d *Document) { d.VIPs = make([]VIP, 33) })
	f("vips", "nearest needs one", func(d *Document) { d.Policy = PolicyNearest })
}

func TestVIPFaultsSayWhereAndHowToMend(t *testing.T) {
	f := func(path, mend string, change func(d *Document)) {
		t.Helper()
		wantFault(t, path, mend, change)
	}
	second := func(change func(v *VIP)) func(d *Document) { return func(d *Document) { change(&d.VIPs[1]) } }
	address := func(address string) func(d *Document) { return second(func(v *VIP) { v.Address = address }) }
	f("vips[1].address", "not an IP address", address(""))
	f("vips[1].address", "without port", address("10.9.0.2:80"))
	f("vips[1].address", "not an IP address", address("orders.example"))
	f("vips[1].address", "listed before, in vips[0]", address("10.9.0.1"))
	f("vips[1].address", "write 10.9.0.2", address("::ffff:10.9.0.2"))
	f("vips[1].address", "IPv6 zone", address("fe80::1%eth0"))
	f("vips[1].address", "link-local", address("169.254.0.1"))
	f("vips[1].address", "unicast", address("0.0.0.0"))
	f("vips[1].address", "unicast", address("::"))
	f("vips[1].address", "unicast", address("224.0.0.1"))
	f("vips[1].address", "unicast", address("255.255.255.255"))
	f("vips[1].weight", "from 0 to 1000", second(func(v *VIP) { v.Weight = new(-1) }))
	f("vips[1].weight", "from 0 to 1000", second(func(v *VIP) { v.Weight = new(1001) }))
	f("vips[1].priority", "from 1 to 1000", second(func(v *VIP) { v.Priority = -1 }))
	f("vips[1].priority", "from 1 to 1000", second(func(v *VIP) { v.Priority = 1001 }))
	f("vips[1].priority", "is missing", func(d *Document) { d.Policy, d.VIPs[0].Priority = PolicyFailover, 1 })
	f("vips[1].zone", "zone name", second(func(v *VIP) { v.Zone = "West A" }))
	f("vips[1].zone", "zone name", second(func(v *VIP) { v.Zone = strings.Repeat("a", 64) }))
}

func TestEveryFaultIsReported(t *testing.T) {
	err := (&Document{TTL: new(-1), VIPs: []VIP{{Address: "x", Weight: new(-1)}}}).Validate()
	for _, path := range []string{"kind", "name", "ttl", "vips[0].address", "vips[0].weight"} {
		if !strings.Contains(fmt.Sprint(err), path+": ") {
			t.Errorf("no fault at %s in:\n%v", path, err)
		}
	}
}

func TestGoodDocuments(t *testing.T) {
	f := func(change func(d *Document)) {
		t.Helper()
		if err := valid(change).Validate(); err != nil {
			t.Error(err)
		}
	}
	f(func(*Document) {})
	f(func(d *Document) { d.TTL = new(1) })
	f(func(d *Document) { d.TTL = new(86400) })
	f(func(d *Document) { d.VIPs[0].Weight, d.VIPs[1].Weight = new(0), new(1000) })
	f(func(d *Document) { d.VIPs[1].Address = "2001:db8::1" })
	f(func(d *Document) { d.VIPs[1].Address = "127.0.9.1" })
	f(func(d *Document) { d.Policy, d.VIPs[1].Zone = PolicyNearest, "west-a" })
	f(func(d *Document) { d.Policy, d.VIPs[0].Priority, d.VIPs[1].Priority = PolicyFailover, 1, 1000 })
	f(func(d *Document) { d.Name = "xn--bcher-kva.example" })
	f(func(d *Document) { d.Name = strings.Repeat("abcdefg.", 31) + "abcde" }) // 253 characters
}

func TestCanonicalFillsInDefaults(t *testing.T) {
	d := valid(func(d *Document) { d.VIPs[1].Address = "2001:DB8:0:0::1" })
	want := &Document{
		Kind: Kind, Name: d.Name, TTL: new(5), Policy: PolicyWeighted,
		VIPs: []VIP{{Address: "10.9.0.1", Weight: new(100)}, {Address: "2001:db8::1", Weight: new(100)}},
	}
	if diff := cmp.Diff(want, d.Canonical()); diff != "" {
		t.Error(diff)
	}
	if d.TTL != nil || d.Policy != "" || d.VIPs[0].Weight != nil {
		t.Errorf("the document itself was changed: %+v", d)
	}
}

func FuzzDocument(f *testing.F) {
	f.Add([]byte(fullDocument))
	f.Add([]byte(`{"kind":"Gslb","name":"a.example","policy":"failover","vips":[{"address":"10.0.0.1","priority":1},{"address":"::1","priority":2,"weight":0}]}`))
	f.Add([]byte(`{"kind":"Gslb","name":"a.b.example","policy":"nearest","vips":[{"address":"10.0.0.1","zone":"a"}],"ttl":86400}`))
	f.Add([]byte(`{"kind":"Gslb","name":"10.0.0.1","vips":[{}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var d Document
		if json.Unmarshal(text, &d) != nil {
			return
		}
		canonical := d.Canonical()
		if d.Validate() != nil {
			return
		}
		if err := canonical.Validate(); err != nil {
			t.Fatalf("the canonical form of a valid document is not valid: %v", err)
		}
		if diff := cmp.Diff(canonical, canonical.Canonical()); diff != "" {
			t.Fatalf("the canonical form changes when made canonical: %s", diff)
		}
		z := NewZone([]*Document{&d}, ZoneConfig{})
		if len(z.Problems()) > 0 {
			t.Fatalf("a valid document has no place in a zone: %v", z.Problems())
		}
		if got, _, ok := z.Answer(d.Name, vipAddr); !ok || len(got) == 0 {
			t.Fatalf("a valid document has no answer")
		}
	})
}
