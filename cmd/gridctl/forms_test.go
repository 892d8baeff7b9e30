package main

import (
	"strings"
	"testing"

	"gridrouter.io/discovery/catalog"
	"gridrouter.io/routing"
	"gridrouter.io/routing/document"
)

func TestYAMLReadsBackAsWhatItWas(t *testing.T) {
	f := func(key string) {
		t.Helper()
		pin := &routing.Pin{Kind: "Pin", Tenant: "acme", Key: key, Deck: "east-1"}
		stored, err := document.Encode(pin)
		if err != nil {
			t.Skip(err)
		}
		text, err := toYAML(stored)
		if err != nil {
			t.Fatalf("%q: %v", key, err)
		}
		docs, err := catalog.NewReader().ReadFile("pin.yaml", text)
		if err != nil || len(docs) != 1 || docs[0].Err != nil {
			t.Fatalf("%q makes\n%s\nwhich does not read: %v, %v", key, text, err, docs)
		}
		if back := docs[0].Document.(*routing.Pin); *back != *pin {
			t.Errorf("%q reads back as %q", key, back.Key)
		}
	}
	for _, key := range []string{
		"10086", "1e3", "0x1f", "true", "null", "~", "yes", "On", "n", "1m30s", "127.0.0.1:80", "12:30:45", "2026-01-02", "a b", " a", "a ", "a: b", "a #b",
		"- a", "*a", "&a", "!a", "%a", "@a", "`a", "'", `"`, `\`, "\n", "\t", "a\nb", "\u0085", "\u2028", "\ufeff", "ü", "日本", "{}", "[", "---", "...", ".", "..", "a:", ":a", "<<", "=",
	} {
		f(key)
	}
}

func TestQuotesAreFew(t *testing.T) {
	text, err := toYAML([]byte(`{"kind":"Deck","name":"east-1","addresses":["127.0.0.1:8080","orders.svc:80"],"timeouts":{"connect":"1m30s"}}`))
	if err != nil || strings.Contains(string(text), `"`) {
		t.Errorf("got\n%s%v", text, err)
	}
}

func TestKeysAreSafeToPrint(t *testing.T) {
	f := func(key, want string) {
		t.Helper()
		if got := printable(key); got != want {
			t.Errorf("printable(%q) is %s, want %s", key, got, want)
		}
	}
	f("10086", "10086")
	f("a b", `"a b"`)
	f("a\x1b[31m", `"a\x1b[31m"`)
	f("ü", "ü")
	f("a\tb", `"a\tb"`)
}

func FuzzToYAML(f *testing.F) {
	for _, seed := range []string{`{"a":"b"}`, `{"a":[1,true,null,"yes"]}`, `"x"`, `{`, `{"a":"\ud800"}`, "{\"a\":\"\x7f\"}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		_, _ = toYAML(value) // must not panic, whatever etcd holds
	})
}
