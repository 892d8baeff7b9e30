package document_test

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"gridrouter.io/routing/document"
)

// addGoldens seeds a fuzz target with the inputs in testdata whose names end in ext.
func addGoldens(f *testing.F, ext string) {
	archives, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range archives {
		archive, err := txtar.ParseFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range archive.Files {
			if strings.HasSuffix(file.Name, ext) {
				f.Add(file.Data)
			}
		}
	}
}

// checkParsed holds a read document to what its fields promise.
func checkParsed(t *testing.T, reader *document.Reader, parsed []document.Parsed) {
	t.Helper()
	for _, doc := range parsed {
		if doc.Err != nil {
			if doc.JSON != nil || doc.Err.Error() == "" || !utf8.ValidString(doc.Err.Error()) {
				t.Fatalf("bad document %+v", doc)
			}
			if doc.Raw != nil && !json.Valid(doc.Raw) {
				t.Fatalf("raw form %q", doc.Raw)
			}
			if _, err := reader.Decode(doc.Key, doc.Raw); err == nil && len(doc.Raw) < document.MaxDocumentBytes/2 {
				t.Fatalf("a bad document became good in its raw form: %v\n%s", doc.Err, doc.Raw)
			}
			continue
		}
		if doc.Key == "" || doc.Kind == "" || doc.Name == "" || doc.Origin == "" {
			t.Fatalf("good document without its names: %+v", doc)
		}
		back, err := reader.Decode(doc.Key, doc.JSON)
		if err != nil {
			t.Fatalf("what was read is not what is decoded: %v\n%s", err, doc.JSON)
		}
		if diff := cmp.Diff(doc.Document, back); diff != "" {
			t.Fatalf("-read +decoded:\n%s", diff)
		}
		again, err := document.Encode(back)
		if err != nil || !bytes.Equal(again, doc.JSON) {
			t.Fatalf("encodes to %s, then to %s, %v", doc.JSON, again, err)
		}
	}
}

func FuzzReadFileYAML(f *testing.F) {
	addGoldens(f, ".yaml")
	reader := document.NewReader()
	f.Fuzz(func(t *testing.T, data []byte) {
		parsed, err := reader.ReadFile("a.yaml", data)
		if err != nil && utf8.Valid(data) {
			t.Fatalf("YAML is always split into documents: %v", err)
		}
		checkParsed(t, reader, parsed)
	})
}

func FuzzReadFileJSON(f *testing.F) {
	addGoldens(f, ".json")
	reader := document.NewReader()
	f.Fuzz(func(t *testing.T, data []byte) {
		parsed, err := reader.ReadFile("a.json", data)
		checkParsed(t, reader, parsed)
		if err == nil && len(parsed) == 1 && !json.Valid(bytes.TrimPrefix(data, []byte("\uFEFF"))) {
			t.Fatalf("taken for JSON, but it is none: %q", data)
		}
		if err != nil && json.Valid(data) && utf8.Valid(data) && !strings.Contains(err.Error(), "nests deeper") && !strings.Contains(err.Error(), "half of a pair") {
			t.Fatalf("not taken for JSON, but it is: %v", err)
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add("tenants/acme", []byte(goodTenant))
	f.Add("pins/acme/100%2F86", []byte(`{"kind":"Pin","tenant":"acme","key":"100/86","deck":"east"}`))
	f.Add("decks/west", []byte(`{"kind":"Deck","name":"west","domain":"WEST.example","attach":"mesh","port":80,"timeouts":{"connect":"1s"}}`))
	f.Add("decks/west", []byte(`{"kind":"Deck","name":"\ud83d\ude00","domain":null}`))
	reader := document.NewReader()
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		doc, err := reader.Decode(key, value)
		if err != nil {
			return
		}
		stored, err := document.Encode(doc)
		if err != nil {
			t.Fatal(err)
		}
		back, err := reader.Decode(key, stored)
		if err != nil {
			t.Fatalf("%v\n%s", err, stored)
		}
		if diff := cmp.Diff(doc, back); diff != "" {
			t.Fatalf("-decoded +again:\n%s", diff)
		}
	})
}
