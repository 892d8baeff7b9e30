package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"gridrouter.io/discovery"
	"gridrouter.io/discovery/catalog"
	"gridrouter.io/routing/compile"
	"gridrouter.io/routing/routingtest"
)

// TestAnExportSaysWhatItLacks writes the snapshot of a router that reads pins on demand.
func TestAnExportSaysWhatItLacks(t *testing.T) {
	compiler := compile.NewCompiler(catalog.NewReader().Decode)
	compiler.CachePins()
	routingtest.Compile(t, compiler, compile.Update{Whole: true, Revision: 1, Changes: []compile.Change{
		{Key: "decks/d1", Value: []byte(`{"kind":"Deck","name":"d1","domain":"d1.deck.example","attach":"direct","addresses":["127.0.0.1:1"]}`)},
		{Key: "tenants/acme", Value: []byte(`{"kind":"Tenant","name":"acme","hosts":["a.example"],"epoch":1,"rules":[{"name":"all","key":{"header":"x-user-id"},"pins":"cached","split":{"d1":1}}]}`)},
		{Key: "pins/acme/1", Value: []byte(`{"kind":"Pin","tenant":"acme","key":"1","deck":"d1"}`)},
	}})
	parts, err := compiler.Checkpoint().Sections()
	if err != nil {
		t.Fatal(err)
	}
	sections := make([]discovery.SnapshotSection, len(parts))
	for i, part := range parts {
		sections[i] = discovery.SnapshotSection(part)
	}
	path := filepath.Join(t.TempDir(), "r1.snap")
	if err := discovery.WriteSnapshot(path, discovery.SnapshotHeader{Format: compile.SnapshotFormat, Of: "etcd prefix /gridrouter/"}, sections); err != nil {
		t.Fatal(err)
	}
	var out, faults bytes.Buffer
	if err := exportSnapshot(&out, &faults, path); err != nil || strings.Count(out.String(), "\n") != 2 || !strings.HasPrefix(faults.String(), "1 pin of tenants with ") {
		t.Errorf("%v, %q, %q", err, out.String(), faults.String())
	}
}

// TestNamesAreExportedFromASnapshot takes that of a GSLB server, the one place that holds them beside
// etcd.
func TestNamesAreExportedFromASnapshot(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gslb.snap")
	text := `{"kind":"Gslb","name":"a.grid.example","vips":[{"address":"10.0.0.1"}]}`
	sections := []discovery.SnapshotSection{{Name: "names", Data: []byte("[" + text + "," + text + "]")}}
	if err := discovery.WriteSnapshot(path, discovery.SnapshotHeader{Format: 1, Of: "the names of etcd prefix /gridrouter/"}, sections); err != nil {
		t.Fatal(err)
	}
	var out, faults bytes.Buffer
	if err := exportSnapshot(&out, &faults, path); err != nil || out.String() != text+"\n"+text+"\n" || faults.Len() > 0 {
		t.Errorf("%v, %q, %q", err, out.String(), faults.String())
	}
}
