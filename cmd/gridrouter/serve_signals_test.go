package main

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"gridrouter.io/bench/testkit"
)

// startHeldDeck serves a deck that answers "held" once it is released.
func startHeldDeck(t *testing.T) (addr string, release func()) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	held := make(chan struct{})
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		<-held
		_, _ = w.Write([]byte("held")) // the router may have cut it
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(ln)
	}()
	release = func() {
		select {
		case <-held:
		default:
			close(held)
		}
	}
	t.Cleanup(func() {
		release()
		_ = server.Close()
		<-done
	})
	return ln.Addr().String(), release
}

// TestTheFirstSignalAfterPOSTDrainCutsNothing stops a router the way a supervisor with a
// hook before its SIGTERM does.
func TestTheFirstSignalAfterPOSTDrainCutsNothing(t *testing.T) {
	dir := t.TempDir()
	deck, release := startHeldDeck(t)
	writeFile(t, filepath.Join(dir, "all.yaml"), deckYAML("d1", deck)+tenantYAML("d1"))
	s := startServe(t, "--routes", dir, "--access-log", "off")
	s.ready(t)
	answered := make(chan string, 1)
	go func() {
		_, body := s.ask("/")
		answered <- body
	}()
	testkit.Eventually(t, "a request is under way", func() bool {
		_, body := fetch(s.admin + "/decks")
		return strings.Contains(body, `"inFlight": 1`)
	})
	resp, err := http.Post(s.admin+"/drain", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	s.await(t, "draining begins")
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	s.await(t, "draining goes on; a second signal ends it at once")
	release()
	if body := <-answered; body != "held" {
		t.Fatalf("the request in flight got %q", body)
	}
	select {
	case <-s.ended:
	case <-time.After(patience):
		t.Fatal("it did not end")
	}
	if status := s.cmd.ProcessState.ExitCode(); status != 0 {
		t.Fatalf("exit status %d", status)
	}
}

// TestSIGHUPTurnsTheLogLevel turns it up while the router runs: from then on it tells
// nothing of what it tells by default.
func TestSIGHUPTurnsTheLogLevel(t *testing.T) {
	dir := t.TempDir()
	config, log := filepath.Join(dir, "config.yaml"), filepath.Join(dir, "access.log")
	writeFile(t, config, "log-level: info\n")
	s := startServe(t, "--routes", t.TempDir(), "--config", config, "--access-log", log)
	s.ready(t)
	if err := os.Rename(log, log+".1"); err != nil {
		t.Fatal(err)
	}
	writeFile(t, config, "log-level: error\n")
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the signal is acted on", func() bool {
		_, err := os.Stat(log)
		return err == nil
	})
	if status := s.terminate(t); status != 0 {
		t.Fatalf("exit status %d", status)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, fields := range s.logged {
		if fields["msg"] == "draining begins" {
			t.Errorf("it goes on logging %v", fields)
		}
	}
}
