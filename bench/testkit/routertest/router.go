// Package routertest runs the router, built as it is shipped, for tests of those who look at routers from
// outside.
package routertest

import (
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"gridrouter.io/bench/child"
	"gridrouter.io/bench/testkit"
)

// Token is the bearer token of the admin endpoints of all routers here.
const Token = "token-of-a-test"

// Build builds cmd/gridrouter and returns the binary's path. It is gone after the test.
func Build(t testing.TB) string {
	t.Helper()
	_, here, _, _ := runtime.Caller(0)
	binary := filepath.Join(t.TempDir(), "gridrouter")
	build := exec.Command("go", "build", "-o", binary, "./cmd/gridrouter")
	build.Dir = filepath.Join(filepath.Dir(here), "..", "..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the router: %v\n%s", err, out)
	}
	return binary
}

// Router is a process.
type Router struct {
	// Requests and Admin are its addresses, host:port.
	Requests, Admin string
	// Documents is the folder that it follows.
	Documents string

	t       testing.TB
	health  string
	binary  string
	process *child.Process
}

// Start starts a router whose documents are one file of that text, and waits until it is ready. It ends with
// the test.
func Start(t testing.TB, binary, documents string) *Router {
	t.Helper()
	r := &Router{t: t, binary: binary, Requests: testkit.FreeAddr(t), Admin: testkit.FreeAddr(t), health: testkit.FreeAddr(t), Documents: t.TempDir()}
	r.Write(documents)
	r.run()
	t.Cleanup(r.Stop)
	return r
}

// Write replaces the documents.
func (r *Router) Write(documents string) {
	r.t.Helper()
	if err := os.WriteFile(filepath.Join(r.Documents, "grid.yaml"), []byte(documents), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// Stop ends the process.
func (r *Router) Stop() { r.process.Stop(10*time.Second, nil) }

// Restart ends the process and starts another one at the same addresses.
func (r *Router) Restart() {
	r.t.Helper()
	r.Stop()
	r.run()
}

func (r *Router) run() {
	r.t.Helper()
	token := filepath.Join(r.t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(Token), 0o600); err != nil {
		r.t.Fatal(err)
	}
	cmd := exec.Command(r.binary, "serve", "--routes="+r.Documents, "--snapshot=off", "--listen="+r.Requests,
		"--admin="+r.Admin, "--admin-token-file="+token, "--health="+r.health, "--drain-delay=0s")
	var err error
	if r.process, err = child.Start(cmd); err != nil {
		r.t.Fatal(err)
	}
	testkit.Eventually(r.t, "the router is ready", func() bool {
		if !r.process.Running() {
			r.t.Fatalf("the router ended: %s", r.process.Ending())
		}
		answer, err := http.Get("http://" + r.health + "/readyz")
		if err != nil {
			return false
		}
		_ = answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
	http.DefaultClient.CloseIdleConnections()
}

// Get sends a request for a host through the router and returns the status.
func (r *Router) Get(host string) int {
	r.t.Helper()
	request, err := http.NewRequest(http.MethodGet, "http://"+r.Requests+"/", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	request.Host, request.Close = host, true
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, answer.Body)
	_ = answer.Body.Close()
	return answer.StatusCode
}
