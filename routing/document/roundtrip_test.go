package document_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"gridrouter.io/routing"
	"gridrouter.io/routing/document"
)

// What is encoded reads back as an equal document, from JSON and from YAML alike, and
// encodes to the same bytes.
func TestDocumentsSurviveTheRoundTrip(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 1))
	reader := document.NewReader()
	for range 2000 {
		key, doc := randomDocument(random)
		stored, err := document.Encode(doc)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if !json.Valid(stored) || !bytes.HasPrefix(stored, []byte(`{"kind":"`)) {
			t.Fatalf("seed %d: %s is not JSON with the kind first", seed, stored)
		}
		back, err := reader.Decode(key, stored)
		if err != nil {
			t.Fatalf("seed %d: %s: %v\n%s", seed, key, err, stored)
		}
		if diff := cmp.Diff(doc, back); diff != "" {
			t.Fatalf("seed %d: -written +read:\n%s", seed, diff)
		}
		parsed, err := reader.ReadFile("a.yaml", asYAML(t, stored))
		if err != nil || len(parsed) != 1 || parsed[0].Err != nil {
			t.Fatalf("seed %d: %v, %+v\n%s", seed, err, parsed, asYAML(t, stored))
		}
		if !bytes.Equal(parsed[0].JSON, stored) || parsed[0].Key != key {
			t.Fatalf("seed %d: from YAML %s\n%s\nwant %s\n%s", seed, parsed[0].Key, parsed[0].JSON, key, stored)
		}
	}
}

// asYAML writes JSON as block YAML, keeping the order of fields.
func asYAML(t *testing.T, stored []byte) []byte {
	t.Helper()
	// What YAML takes for line breaks or controls stands raw in JSON, but not in YAML.
	stored = []byte(strings.NewReplacer("\u0085", `\u0085`, "\u2028", `\u2028`, "\x7f", `\u007f`, "\ufeff", `\ufeff`).Replace(string(stored)))
	var node yaml.Node
	if err := yaml.Unmarshal(stored, &node); err != nil {
		t.Fatal(err)
	}
	var plain func(n *yaml.Node)
	plain = func(n *yaml.Node) {
		n.Style &^= yaml.FlowStyle
		for _, c := range n.Content {
			plain(c)
		}
	}
	plain(&node)
	text, err := yaml.Marshal(&node)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestTheStoredFormIsWhatTheStandardLibraryWrites(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		_, doc := randomDocument(random)
		stored, err := document.Encode(doc)
		if err != nil {
			t.Fatal(err)
		}
		var want bytes.Buffer
		encoder := json.NewEncoder(&want)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(doc); err != nil {
			t.Fatal(err)
		}
		var a, b any
		if err := json.Unmarshal(stored, &a); err != nil {
			t.Fatalf("%v: %s", err, stored)
		}
		if err := json.Unmarshal(want.Bytes(), &b); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(b, a); diff != "" {
			t.Fatalf("-library +ours:\n%s", diff)
		}
	}
}

func TestEmptyListsThatMustBeThereAreWritten(t *testing.T) {
	stored, err := document.Encode(&routing.Tenant{Kind: routing.KindTenant, Name: "acme"})
	if want := `{"kind":"Tenant","name":"acme","hosts":[],"rules":[]}`; err != nil || string(stored) != want {
		t.Errorf("got %s, %v; want %s", stored, err, want)
	}
}

func TestTextThatIsNotUTF8IsNotStored(t *testing.T) {
	if stored, err := document.Encode(&routing.Pin{Kind: routing.KindPin, Tenant: "acme", Key: "\xff", Deck: "east"}); err == nil {
		t.Errorf("got %s", stored)
	}
}

func TestAReaderServesManyAtOnce(t *testing.T) {
	reader := document.NewReader()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 100 {
				if _, err := reader.Decode("tenants/acme", []byte(goodTenant)); err != nil {
					t.Error(err)
				}
				if _, err := reader.ReadFile("a.yaml", []byte("kind: Tennant\nname: x\n")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

// randomDocument returns a valid document and its key.
func randomDocument(r *rand.Rand) (string, any) {
	switch r.IntN(3) {
	case 0:
		deck := randomDeck(r)
		return "decks/" + deck.Name, deck
	case 1:
		tenant := randomTenant(r)
		return "tenants/" + tenant.Name, tenant
	}
	pin := &routing.Pin{Kind: routing.KindPin, Tenant: randomName(r), Key: randomText(r), Deck: randomName(r)}
	return "pins/" + pin.Tenant + "/" + routing.EscapeKey(pin.Key), pin
}

func randomName(r *rand.Rand) string {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789"
	name := make([]byte, 1+r.IntN(12))
	for i := range name {
		name[i] = letters[r.IntN(len(letters))]
	}
	if len(name) > 2 && r.IntN(3) == 0 {
		name[1] = '-'
	}
	return string(name)
}

// randomText returns text that readers of YAML like to take for something else.
func randomText(r *rand.Rand) string {
	texts := []string{
		"yes", "no", "on", "null", "~", "true", "1", "1.0", "0x10", "1e3", "2026-01-01", "a: b", "#", "- a", "*a", "&a", "!a", "<<", "|", ">",
		"a\nb", "\ttab", " space ", "\"", "'", "\\", "ü", "😀", "\u2028", "\u0085", "\x01", "\x7f", "<>&", "%2F", "\ufffd", "\ufeff", "---", "...",
	}
	text := texts[r.IntN(len(texts))]
	if r.IntN(3) == 0 {
		text += texts[r.IntN(len(texts))]
	}
	return text
}

func randomDuration(r *rand.Rand, most time.Duration) routing.Duration {
	return routing.Duration(r.Int64N(int64(most)))
}

func randomDeck(r *rand.Rand) *routing.Deck {
	d := &routing.Deck{
		Kind: routing.KindDeck, Name: "d" + randomName(r), Domain: randomName(r) + ".example", Attach: routing.AttachMesh, Port: r.IntN(65536),
		State:      []routing.DeckState{"", routing.DeckActive, routing.DeckDraining, routing.DeckDown}[r.IntN(4)],
		HostHeader: []routing.HostHeader{"", routing.HostHeaderDeck, routing.HostHeaderOriginal}[r.IntN(3)],
	}
	if r.IntN(2) == 0 {
		d.Attach, d.Port = routing.AttachDirect, 0
		for i := range 1 + r.IntN(3) {
			d.Addresses = append(d.Addresses, []string{"10.0.0.%d:80", "[2001:db8::%d]:443", "name-%d.svc:8080"}[r.IntN(3)])
			d.Addresses[i] = fmt.Sprintf(d.Addresses[i], i+1)
		}
	}
	if r.IntN(2) == 0 {
		d.Standby, d.Zone = "s"+randomName(r)+"x", randomName(r)
		d.Timeouts = &routing.DeckTimeouts{Connect: randomDuration(r, time.Minute), Idle: randomDuration(r, time.Hour)}
	}
	return d
}

func randomTenant(r *rand.Rand) *routing.Tenant {
	t := &routing.Tenant{Kind: routing.KindTenant, Name: randomName(r), Hosts: []string{randomName(r) + ".example", "*.own.example"}, Epoch: r.Uint64N(3)}
	if r.IntN(2) == 0 {
		t.Delegates = []string{randomName(r) + ".own.example"}
		t.Timeouts = &routing.TenantTimeouts{Total: randomDuration(r, time.Hour)}
		t.Epoch = routing.MaxEpoch
	}
	for i := range 1 + r.IntN(4) {
		rule := routing.Rule{Name: fmt.Sprintf("rule-%d", i)}
		if r.IntN(2) == 0 {
			rule.Match = &routing.Match{Path: "/a", Methods: []string{"GET"}, Headers: map[string]string{"x-a": randomText(r), "x-b.c": randomText(r)},
				Cookies: map[string]string{"n": randomText(r)}, Query: map[string]string{"y": randomText(r), "no": "", "ü.[0]": "1"}}
		}
		if r.IntN(3) == 0 {
			rule.Deck = randomName(r)
		} else {
			rule.Key = &routing.KeySource{Header: "x-user-id"}
			rule.Pins = []routing.PinMode{routing.PinsOff, routing.PinsResident}[r.IntN(2)]
			rule.Ranges = []routing.Range{{From: 0, To: r.Int64N(1000), Deck: randomName(r)}, {From: 1000, To: math.MaxInt64, Deck: randomName(r)}}
			rule.Split = map[string]int{randomName(r): 1 + r.IntN(1000), "zero": 0}
			rule.Missing = []string{"", "next", "reject", randomName(r)}[r.IntN(4)]
		}
		t.Rules = append(t.Rules, rule)
	}
	return t
}
