package conformance

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gridrouter.io/bench/child"
	"gridrouter.io/bench/lab"
	"gridrouter.io/bench/testkit"
)

const patience = 20 * time.Second

// programs builds the binaries once.
var programs struct {
	once sync.Once
	dir  string
	err  error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if programs.dir != "" {
		_ = os.RemoveAll(programs.dir)
	}
	os.Exit(code)
}

// needs skips a test unless it is asked for ("make conformance" does), and fails it if a
// program is missing then.
func needs(t *testing.T, names ...string) {
	t.Helper()
	if os.Getenv("GRIDROUTER_CONFORMANCE") == "" {
		t.Skip("make conformance runs it")
	}
	for _, name := range names {
		if find(name) == "" {
			t.Fatalf("%s is not installed; make conformance says how to", name)
		}
	}
}

// find returns the path of a program; servers lie where root finds them.
func find(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	if path, err := exec.LookPath("/usr/sbin/" + name); err == nil {
		return path
	}
	return ""
}

func routerBinary(t *testing.T) string {
	t.Helper()
	programs.once.Do(func() {
		if programs.dir, programs.err = os.MkdirTemp("", "conformance"); programs.err == nil {
			programs.err = lab.Build(context.Background(), programs.dir)
		}
	})
	if programs.err != nil {
		t.Fatal(programs.err)
	}
	return filepath.Join(programs.dir, "gridrouter")
}

// start starts a process and ends it with the test. Its output goes to a file, which is shown
// if the test fails.
func start(t *testing.T, name string, args ...string) *child.Process {
	t.Helper()
	out, err := os.Create(filepath.Join(t.TempDir(), "output"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = out, out
	p, err := child.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Kill()        // with the workers it started
		_ = out.Close() // all has been written
		if t.Failed() {
			text, _ := os.ReadFile(out.Name())
			t.Logf("%s said: %s", filepath.Base(name), text)
		}
	})
	return p
}

// awaitListener waits until somebody accepts connections.
func awaitListener(t *testing.T, addr string) {
	t.Helper()
	testkit.Eventually(t, "somebody listens at "+addr, func() bool {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			_ = conn.Close() // it was only to see
		}
		return err == nil
	})
}

// router is a running gridrouter in front of one deck.
type router struct {
	addr   string
	access string // the access log
	pid    int
}

const routes = `kind: Deck
name: d1
domain: d1.deck.example
attach: direct
addresses: ["%s"]
timeouts: {firstByte: 2s}
---
kind: Tenant
name: acme
hosts: [acme.test]
epoch: 3
rules: [{name: all, deck: d1}]
`

// startRouter starts the router in front of a deck and waits until it is ready.
func startRouter(t *testing.T, deck string) router {
	t.Helper()
	return startRouterBy(t, nil, deck)
}

// startRouterBy starts the router by another program, such as one that sets limits.
func startRouterBy(t *testing.T, by []string, deck string, flags ...string) router {
	t.Helper()
	dir := t.TempDir()
	documents := filepath.Join(dir, "routes")
	if err := os.Mkdir(documents, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(documents, "all.yaml"), fmt.Appendf(nil, routes, deck), 0o600); err != nil {
		t.Fatal(err)
	}
	r := router{addr: testkit.FreeAddr(t), access: filepath.Join(dir, "access.log")}
	health := testkit.FreeAddr(t)
	command := slices.Concat(by, []string{routerBinary(t), "serve", "--routes", documents, "--listen", r.addr, "--admin", testkit.FreeAddr(t),
		"--health", health, "--snapshot", "off", "--access-log", r.access, "--log-level", "warn"}, flags)
	r.pid = start(t, command[0], command[1:]...).PID()
	testkit.Eventually(t, "the router is ready", func() bool {
		resp, err := http.Get("http://" + health + "/readyz")
		if err != nil {
			return false
		}
		_ = resp.Body.Close() // its status is all that counts
		return resp.StatusCode == http.StatusOK
	})
	return r
}

// readLines reads a file's lines.
func readLines(t *testing.T, path string) []string {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var lines []string
	for scan := bufio.NewScanner(file); scan.Scan(); {
		lines = append(lines, strings.TrimSpace(scan.Text()))
	}
	return lines
}
