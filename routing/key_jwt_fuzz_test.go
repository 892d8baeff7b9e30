package routing

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzClaim holds the scanner to the standard library: whatever key it finds, an
// ordinary JSON reader finds too, and text that is no JSON yields none.
func FuzzClaim(f *testing.F) {
	for _, seed := range []string{`{"sub":"u"}`, `{"sub":12}`, `{"a":{"sub":1},"sub":"\u0041"}`, `{"sub":"a","sub":"b"}`, `[]`, `{"sub":-0}`, `{"sub" :1e2}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		value, result := findMember(text, "sub", nil)
		if result != keyFound {
			return
		}
		if !utf8.Valid(text) {
			return // the standard library replaces broken UTF-8; keys keep their bytes
		}
		var object map[string]any
		decoder := json.NewDecoder(strings.NewReader(string(text)))
		decoder.UseNumber()
		if err := decoder.Decode(&object); err != nil {
			t.Fatalf("%q is no JSON object (%v), but has the claim %q", text, err, value)
		}
		switch claim := object["sub"].(type) {
		case string:
			if claim != string(value) {
				t.Fatalf("%q: %q, want %q", text, value, claim)
			}
		case json.Number:
			if claim.String() != string(value) {
				t.Fatalf("%q: %q, want %q", text, value, claim)
			}
		default:
			t.Fatalf("%q: the claim is %v, read as %q", text, claim, value)
		}
	})
}
