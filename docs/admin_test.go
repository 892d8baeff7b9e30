package docs_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestEachAdminEndpointIsDocumented compares the table in ADMIN.md with what router/admin.go registers.
func TestEachAdminEndpointIsDocumented(t *testing.T) {
	code, err := os.ReadFile("../router/admin.go")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("ADMIN.md")
	if err != nil {
		t.Fatal(err)
	}
	registered := map[string]bool{}
	for _, match := range regexp.MustCompile(`mux\.Handle(?:Func)?\("([^"]+)"`).FindAllSubmatch(code, -1) {
		pattern := string(match[1])
		if strings.HasPrefix(pattern, "/debug/pprof/") {
			pattern = "/debug/pprof/"
		}
		registered[pattern] = true
	}
	documented := map[string]bool{}
	for _, match := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllSubmatch(text, -1) {
		documented[string(match[1])] = true
	}
	if len(registered) < 10 {
		t.Fatalf("router/admin.go registers %d endpoints as this test reads it; it must have changed its form", len(registered))
	}
	for pattern := range registered {
		if !documented[pattern] {
			t.Errorf("docs/ADMIN.md lacks %q", pattern)
		}
	}
	for pattern := range documented {
		if !registered[pattern] {
			t.Errorf("docs/ADMIN.md has %q, which router/admin.go does not register", pattern)
		}
	}
}
