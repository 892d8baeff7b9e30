package conformance

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// arm is a proxy that is measured.
type arm struct {
	addr string
	pid  int
}

// TestConformanceCPUBesideHAProxy prints the CPU time of a request through the router and
// through HAProxy, in turns. It fails if answers are wrong, and never for being slow.
func TestConformanceCPUBesideHAProxy(t *testing.T) {
	needs(t, "haproxy", "wrk", "nginx")
	const rounds = 4
	dir, deck := t.TempDir(), freeAddress(t)
	startDeck(t, deck, dir)
	ours := arm{}
	ours.addr, ours.pid = startMeasured(t, deck)
	theirs := startHAProxy(t, deck, dir)
	var ratios, us, usTheirs []float64
	for round := range rounds + 1 {
		b, a := load(t, theirs), load(t, ours)
		if round > 0 { // the first one warms up
			ratios, us, usTheirs = append(ratios, a/b), append(us, a), append(usTheirs, b)
		}
	}
	slices.Sort(ratios)
	slices.Sort(us)
	slices.Sort(usTheirs)
	fmt.Printf("CPU a request, 64 connections, 128-byte answers: %.1f us, HAProxy %.1f us; ratio %.2f (%.2f to %.2f in %d rounds; bar 1.25)\n",
		us[rounds/2], usTheirs[rounds/2], (ratios[rounds/2]+ratios[(rounds-1)/2])/2, ratios[0], ratios[rounds-1], rounds)
}

func startDeck(t *testing.T, addr, dir string) {
	start(t, find("nginx"), "-c", write(t, filepath.Join(dir, "deck.conf"), fmt.Sprintf(`daemon off; worker_processes 1; pid %s/deck.pid; error_log /dev/null;
events { worker_connections 4096; }
http { access_log off; keepalive_requests 1000000000; keepalive_timeout 3600;
server { listen %s; location / { return 200 "%s"; } } }`, dir, addr, strings.Repeat("x", 128))))
	awaitListener(t, addr)
}

func startMeasured(t *testing.T, deck string) (addr string, pid int) {
	r := startRouterBy(t, nil, deck, "--access-log", "off") // HAProxy writes none either
	return r.addr, r.pid
}

func startHAProxy(t *testing.T, deck, dir string) arm {
	a := arm{addr: freeAddress(t)}
	cmd := start(t, find("haproxy"), "-dMno-tag", "-f", write(t, filepath.Join(dir, "haproxy.cfg"), fmt.Sprintf(`global
  nbthread 2
  maxconn 1000
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse always
frontend f
  bind %s
  default_backend b
backend b
  server s %s
`, a.addr, deck)))
	awaitListener(t, a.addr)
	a.pid = cmd.Process.Pid
	return a
}

// load returns the microseconds of CPU that a request took.
func load(t *testing.T, a arm) float64 {
	t.Helper()
	before := ticks(t, a.pid)
	out, err := exec.Command("wrk", "-c", "64", "-t", "1", "-d", "3", "-H", "Host: acme.test", "-H", "User-Agent: Mozilla/5.0 bench",
		"-H", "Accept: */*", "-H", "X-User-Id: 10086", "http://"+a.addr+"/orders/1?x=y").Output()
	if err != nil {
		t.Fatal(err)
	}
	spent := ticks(t, a.pid) - before
	if regexp.MustCompile(`Non-2xx|Socket errors`).Match(out) {
		t.Fatalf("wrong answers: %s", out)
	}
	found := regexp.MustCompile(`(\d+) requests in`).FindSubmatch(out)
	if found == nil {
		t.Fatalf("wrk says: %s", out)
	}
	requests, _ := strconv.ParseFloat(string(found[1]), 64)
	const ticksPerSecond = 100 // of Linux, towards programs
	return spent / ticksPerSecond * 1e6 / requests
}

// ticks returns the CPU time of a process, user and system.
func ticks(t *testing.T, pid int) float64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	user, _ := strconv.ParseFloat(fields[11], 64)
	system, _ := strconv.ParseFloat(fields[12], 64)
	return user + system
}
