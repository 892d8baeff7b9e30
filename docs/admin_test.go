package docs_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestEachAdminEndpointIsDocumented compares the table in ADMIN.md with what package router/admin registers.
func TestEachAdminEndpointIsDocumented(t *testing.T) {
	var code []byte
	for _, file := range []string{"admin.go", "health.go"} {
		part, err := os.ReadFile("../router/admin/" + file)
		if err != nil {
			t.Fatal(err)
		}
		code = append(code, part...)
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
		t.Fatalf("package router/admin registers %d endpoints as this test reads it; it must have changed its form", len(registered))
	}
	for pattern := range registered {
		if !documented[pattern] {
			t.Errorf("docs/ADMIN.md lacks %q", pattern)
		}
	}
	for pattern := range documented {
		if !registered[pattern] {
			t.Errorf("docs/ADMIN.md has %q, which package router/admin does not register", pattern)
		}
	}
}
