package store

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestAStoreHoldsWhatAMapHolds drives a store and a map through the same random edits, and
// looks at older versions again later: nothing may have touched them.
func TestAStoreHoldsWhatAMapHolds(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 3))
	editor, model := NewEditor(rand.Uint64()), map[string]string{}
	crowd := crowdedKeys(&editor.base, 200)
	type version struct {
		store *Map
		model map[string]string
	}
	var versions []version
	for range 60 {
		for range random.IntN(400) {
			key := fmt.Sprintf("key-%d", random.IntN(2000))
			if random.IntN(2) == 0 {
				key = crowd[random.IntN(len(crowd))]
			}
			if random.IntN(3) == 0 {
				_, there := model[key]
				if editor.Delete(key) != there {
					t.Fatalf("delete of %s: there is %v", key, there)
				}
				delete(model, key)
				continue
			}
			value := strings.Repeat("v", random.IntN(200)) + key
			editor.Put(key, []byte(value))
			model[key] = value
			if got, ok := editor.Get(key); !ok || got != value {
				t.Fatalf("%s is %q, %v while being edited", key, got, ok)
			}
		}
		versions = append(versions, version{sealed(editor), maps.Clone(model)})
	}
	for _, v := range versions {
		holds(t, v.store, v.model)
		again, err := Decode(v.store.Encode())
		if err != nil {
			t.Fatal(err)
		}
		holds(t, sealed(again), v.model)
	}
}

// crowdedKeys returns keys of two shards, whose slots are searched past those of others.
func crowdedKeys(s *Map, n int) (keys []string) {
	for i := 0; len(keys) < n; i++ {
		if key := fmt.Sprintf("crowded-%d", i); shardOf(s.seededText(key)) < 2 {
			keys = append(keys, key)
		}
	}
	return keys
}

// TestVersionsShareWhatDidNotChange: an edit copies the page that it touches, no other.
func TestVersionsShareWhatDidNotChange(t *testing.T) {
	editor := NewEditor(rand.Uint64())
	for i := range 10_000 {
		editor.Put(fmt.Sprintf("key-%d", i), []byte("value"))
	}
	before := sealed(editor)
	editor.Put("key-77", []byte("other"))
	after := sealed(editor)
	changed := 0
	for i := range before.pages {
		if before.pages[i] != after.pages[i] {
			changed++
		}
	}
	if changed != 1 {
		t.Fatalf("one edit changed %d pages", changed)
	}
}

func sealed(e *Editor) *Map {
	version, _ := e.Seal(nil)
	return version
}

func holds(t *testing.T, s *Map, model map[string]string) {
	t.Helper()
	if s.Len() != len(model) {
		t.Fatalf("%d entries, want %d", s.Len(), len(model))
	}
	for key, value := range model {
		if got, ok := s.Get([]byte(key)); !ok || got != value {
			t.Fatalf("%s is %q, %v; want %q", key, got, ok, value)
		}
	}
	seen := map[string]string{}
	s.Each(func(key, value string) bool {
		seen[key] = value
		return true
	})
	if !maps.Equal(seen, model) {
		t.Fatalf("a walk sees %d entries, want %d", len(seen), len(model))
	}
	if _, ok := s.Get([]byte("absent")); ok {
		t.Fatal("what is not there is found")
	}
}
