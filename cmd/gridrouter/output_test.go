package main

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"gridrouter.io/bench/testkit"
)

// The access log goes to stdout unless told otherwise, and who collects it may be
// restarted at any time.
func TestServeOutlivesWhoReadsItsAccessLog(t *testing.T) {
	folder := t.TempDir()
	writeFile(t, filepath.Join(folder, "grid.yaml"), deckYAML("d1", startDeck(t, "d1"))+tenantYAML("d1"))
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := startWriting(t, writer, "serve", "--routes", folder, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--router-id", "r1", "--drain-delay", "0s")
	_ = writer.Close() // the process has its own
	fields := p.await(t, "the router started")
	s := &served{process: p, data: fields["listen"].([]any)[0].(string)}
	s.becomes(t, "d1")
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "it notices that nobody reads", func() bool {
		if status, body := s.ask("/"); status != http.StatusOK {
			t.Fatalf("it does not answer any more: %d %s", status, body)
		}
		return s.said("the access log cannot be written; lines are lost until it can")
	})
	if status, body := s.ask("/"); status != http.StatusOK {
		t.Fatalf("got %d %s", status, body)
	}
	if status := p.terminate(t); status != 0 {
		t.Fatalf("exit status %d", status)
	}
}

// said says whether a message has been logged.
func (p *process) said(message string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, fields := range p.logged {
		if fields["msg"] == message {
			return true
		}
	}
	return false
}
