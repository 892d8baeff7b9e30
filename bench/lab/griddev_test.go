package lab_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gridrouter.io/bench/lab"
)

// griddev is a running griddev, as a person would start it.
type griddev struct {
	t      *testing.T
	layout lab.Layout
	cmd    *exec.Cmd
	done   chan error
	mu     sync.Mutex
	text   bytes.Buffer
}

// Write implements [io.Writer].
func (g *griddev) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.text.Write(p)
}

func (g *griddev) printed() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.text.String()
}

func startGriddev(t *testing.T, layout lab.Layout, args ...string) *griddev {
	t.Helper()
	if testing.Short() {
		t.Skip("whole grids take a while")
	}
	g := &griddev{t: t, layout: layout, done: make(chan error, 1)}
	g.cmd = exec.Command(filepath.Join(bin(t), "griddev"), append([]string{"--net", layout.Net()}, args...)...)
	g.cmd.Stdout, g.cmd.Stderr = g, g
	g.cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir()) // one that is killed leaves its data
	if err := g.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { g.done <- g.cmd.Wait() }()
	t.Cleanup(func() { _ = g.cmd.Process.Kill() })
	return g
}

// until waits until griddev has printed the text.
func (g *griddev) until(text string) {
	g.t.Helper()
	g.hold("it prints "+strconv.Quote(text), func() bool { return strings.Contains(g.printed(), text) })
}

// hold waits for longer than testkit.Eventually, since a whole grid starts, and shows what was printed.
func (g *griddev) hold(what string, holds func() bool) {
	g.t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !holds(); {
		if time.Now().After(deadline) {
			g.t.Fatalf("it never came to this: %s; it printed:\n%s", what, g.printed())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (g *griddev) signal(signal syscall.Signal) {
	g.t.Helper()
	if err := g.cmd.Process.Signal(signal); err != nil {
		g.t.Fatal(err)
	}
}

// end waits for griddev's end and returns its exit status.
func (g *griddev) end() int {
	g.t.Helper()
	select {
	case err := <-g.done:
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			g.t.Fatal(err)
		}
		return g.cmd.ProcessState.ExitCode()
	case <-time.After(60 * time.Second):
		g.t.Fatalf("griddev does not end; it printed:\n%s", g.printed())
		return -1
	}
}

// pid returns the process of a part, as griddev printed it last.
func (g *griddev) pid(part string) int {
	g.t.Helper()
	found := regexp.MustCompile(regexp.QuoteMeta(part)+` .*pid (\d+)`).FindAllStringSubmatch(g.printed(), -1)
	if found == nil {
		g.t.Fatalf("griddev printed no pid of %s:\n%s", part, g.printed())
	}
	pid, err := strconv.Atoi(found[len(found)-1][1])
	if err != nil {
		g.t.Fatal(err)
	}
	return pid
}

// nothingIsLeft waits until nobody listens at the grid's addresses any more.
func (g *griddev) nothingIsLeft() {
	g.t.Helper()
	addresses := []string{
		g.layout.VIP(), g.layout.Data(1), g.layout.Data(2), g.layout.Deck(0), g.layout.Deck(3),
		g.layout.MeshVIP(1), g.layout.Ingress(), g.layout.GSLB(), g.layout.Etcd(),
	}
	for _, address := range addresses {
		g.hold("nobody listens at "+address, func() bool { return !listening(address) })
	}
}

func freeLayout(t *testing.T) lab.Layout {
	t.Helper()
	layout, err := lab.FreeBlock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return layout
}

func TestE2EGriddevStartsQuicklyAndStopsAtCtrlC(t *testing.T) {
	g := startGriddev(t, freeLayout(t))
	began := time.Now()
	g.until("The grid is ready")
	took := time.Since(began)
	t.Logf("ready %s after the start of the process", took)
	if limit := 5 * time.Second; took > limit && !raceDetector {
		t.Errorf("griddev took %s to be ready, more than %s", took, limit)
	}
	g.until("Ctrl-C stops everything")
	g.signal(syscall.SIGINT)
	if status := g.end(); status != 0 {
		t.Errorf("it ended with %d:\n%s", status, g.printed())
	}
	g.nothingIsLeft()
}

func TestE2ESecondCtrlCStopsAtOnce(t *testing.T) {
	g := startGriddev(t, freeLayout(t))
	g.until("Ctrl-C stops everything")
	// An open connection to the VIP would hold a stop up for a second; a frozen part for many.
	if err := syscall.Kill(g.pid(lab.Router1), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	g.signal(syscall.SIGINT)
	g.until("Stopping the grid")
	began := time.Now()
	g.signal(syscall.SIGINT)
	if status := g.end(); status != 0 {
		t.Errorf("it ended with %d:\n%s", status, g.printed())
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the second Ctrl-C took %s", took)
	}
	g.nothingIsLeft()
}

func TestE2EPartsDieWithGriddev(t *testing.T) {
	g := startGriddev(t, freeLayout(t))
	g.until("Ctrl-C stops everything")
	g.signal(syscall.SIGKILL)
	g.end()
	g.nothingIsLeft()
}

func TestE2EGriddevTellsOfDeadPartsAndStartsThemAgain(t *testing.T) {
	g := startGriddev(t, freeLayout(t))
	g.until("Ctrl-C stops everything")
	killed := g.pid("orders-east-1")
	if err := syscall.Kill(killed, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	g.until("orders-east-1  ended (signal: killed)")
	g.signal(syscall.SIGUSR1)
	g.until("all parts run again")
	if pid := g.pid("orders-east-1"); pid == killed {
		t.Errorf("orders-east-1 is still said to be process %d", pid)
	}
	if a, err := get("http://" + g.layout.Deck(0) + "/"); err != nil || a.deck() == nil {
		t.Errorf("orders-east-1 does not answer again: %v", err)
	}
	g.signal(syscall.SIGTERM)
	if status := g.end(); status != 0 {
		t.Errorf("it ended with %d", status)
	}
}

func TestE2EDataAreKept(t *testing.T) {
	layout, data := freeLayout(t), filepath.Join(t.TempDir(), "grid")
	first := startGriddev(t, layout, "--data", data)
	first.until("Ctrl-C stops everything")
	ctl := func(args ...string) string {
		t.Helper()
		out, err := exec.Command(filepath.Join(bin(t), "gridctl"), append([]string{"--etcd", layout.EtcdURL()}, args...)...).CombinedOutput()
		if err != nil {
			t.Errorf("gridctl %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	ctl("delete", "tenant", "globex")
	first.signal(syscall.SIGINT)
	first.end()

	second := startGriddev(t, layout, "--data", data)
	second.until("Ctrl-C stops everything")
	if tenants := ctl("get", "tenants"); strings.Contains(tenants, "globex") || !strings.Contains(tenants, "acme") {
		t.Errorf("after the second start the tenants are:\n%s", tenants)
	}
	second.signal(syscall.SIGINT)
	second.end()
	if text, err := os.ReadFile(filepath.Join(data, "logs", "r1.log")); err != nil || len(text) == 0 {
		t.Errorf("the log of r1 is not kept: %v", err)
	}
}

func TestE2EGriddevRefusesClearly(t *testing.T) {
	layout := freeLayout(t)
	taken, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", layout.Etcd())
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	f := func(status int, want []string, args ...string) {
		t.Helper()
		g := startGriddev(t, layout, args...)
		if got := g.end(); got != status {
			t.Errorf("griddev %v ended with %d, not %d", args, got, status)
		}
		var said []string
		for line := range strings.Lines(g.printed()) {
			if strings.HasPrefix(line, "griddev: ") && !strings.Contains(line, "starting") {
				said = append(said, line)
			}
		}
		if len(said) != 1 {
			t.Fatalf("griddev %v said not one line:\n%s", args, g.printed())
		}
		for _, text := range want {
			if !strings.Contains(said[0], text) {
				t.Errorf("griddev %v said %q, without %q", args, said[0], text)
			}
		}
	}
	f(1, []string{layout.Etcd(), "pid " + strconv.Itoa(os.Getpid()), "--net"})
	f(2, []string{"--net", "10.0.0"}, "--net", "10.0.0")
	f(2, []string{"--tuor", "--tour"}, "--tuor")
	f(2, []string{"rubbish"}, "rubbish")
}
