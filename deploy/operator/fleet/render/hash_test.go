package render_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/deploy/operator/fleet/render"
)

var update = flag.Bool("update", false, "write the golden hashes anew, which restarts the routers of every fleet whose hash changes")

// TestTheHashOfASpecNeverChanges holds the hashes of many specs to those of earlier versions: a fleet whose
// hash changes gets a new revision, and all its routers restart.
func TestTheHashOfASpecNeverChanges(t *testing.T) {
	const file = "testdata/hashes.txt"
	all := fleets(t, func(*v1alpha1.GridRouter) {})
	var lines []string
	for name, fleet := range all {
		in := render.InputOf(fleet, render.EtcdLogin{Keys: keysOf(name)}, render.Defaults{Image: "gridrouter"})
		other := render.InputOf(fleet, render.EtcdLogin{Keys: keysOf(name)}, render.Defaults{Image: "registry.example/another"})
		if in.Hash() != other.Hash() {
			t.Errorf("%s: the operator's own image changes the hash", name)
		}
		lines = append(lines, fmt.Sprintf("%s %s\n", in.Hash(), name))
	}
	slices.Sort(lines)
	got := strings.Join(lines, "")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || string(want) != got {
		t.Errorf("%v: the hashes are\n%swant\n%s", err, got, want)
	}
}

// TestAnotherUserOfEtcdMakesAnotherRevision looks at what pods cannot follow by themselves.
func TestAnotherUserOfEtcdMakesAnotherRevision(t *testing.T) {
	hash := func(user string) string {
		in := render.InputOf(&v1alpha1.GridRouter{}, render.EtcdLogin{Keys: []string{"password", "username"}, User: user}, render.Defaults{})
		return in.Hash()
	}
	if hash("a") == hash("b") {
		t.Error("routers keep the user that they started with")
	}
}
