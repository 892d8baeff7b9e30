package conformance

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gridrouter.io/bench/testkit"
)

// TestConformanceVarnishtest runs every script under testdata/varnish. Each plays a client
// at ${router} and a deck at ${deck}, whose documents main_test.go has: one tenant, acme, with
// the host acme.test, on one deck.
func TestConformanceVarnishtest(t *testing.T) {
	needs(t, "varnishtest")
	scripts, err := filepath.Glob("testdata/varnish/*.vtc")
	if err != nil || len(scripts) < 30 {
		t.Fatalf("%d scripts, want 30 or more (%v)", len(scripts), err)
	}
	passed := 0
	for _, script := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(script), ".vtc"), func(t *testing.T) {
			deck := testkit.FreeAddr(t)
			r := startRouter(t, deck)
			out, err := exec.Command("varnishtest", "-t", "20", "-D", "deck="+deck, "-D", "router="+r.addr, script).CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, out)
				return
			}
			passed++
		})
	}
	fmt.Printf("varnishtest: %d of %d scripts passed\n", passed, len(scripts))
}
