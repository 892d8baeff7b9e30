package main

import (
	"net/http"
	"strings"
	"testing"

	"gridrouter.io/bench/testkit"
)

// TestAFolderOfWhichNothingCanBeReadIsNotAnEmptyOne starts a router without a snapshot on a folder
// whose one file is broken. It must not be ready, and answer everybody that nobody owns the host.
func TestAFolderOfWhichNothingCanBeReadIsNotAnEmptyOne(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, dir+"/all.yaml", "kind: Tenant\nname: [\n")
	s := startServe(t, "--routes", dir, "--snapshot", "off", "--access-log", "off")
	testkit.Eventually(t, "it says why it is not ready", func() bool {
		status, body := fetch(s.admin + "/readyz")
		return status == http.StatusServiceUnavailable && strings.Contains(body, "all.yaml:2:7")
	})
	if status, body := s.ask("/"); status != http.StatusServiceUnavailable || !strings.Contains(body, "no_table") {
		t.Errorf("a request got %d %s, want no_table", status, body)
	}
	writeFile(t, dir+"/all.yaml", deckYAML("d1", startDeck(t, "one"))+tenantYAML("d1"))
	s.becomes(t, "one ")
	if status, body := fetch(s.admin + "/readyz"); status != http.StatusOK {
		t.Errorf("mended: %d %s", status, body)
	}
	if _, body := fetch(s.admin + "/table"); strings.Contains(body, "lastError") {
		t.Errorf("mended: %s", body)
	}
	writeFile(t, dir+"/all.yaml", "kind: Tenant\nname: [\n")
	testkit.Eventually(t, "it is listed as a problem", func() bool {
		_, body := fetch(s.admin + "/problems")
		return strings.Contains(body, "unreadable")
	})
	if status, body := s.ask("/"); status != http.StatusOK {
		t.Errorf("broken later: %d %s; what is in force stays", status, body)
	}
}

// TestAGslbServerThatCanReadNothingDeniesNoName starts a GSLB server on a folder whose one file is
// broken. "No such name" would take the addresses of decks away from those who ask.
func TestAGslbServerThatCanReadNothingDeniesNoName(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, dir+"/names.yaml", "kind: Gslb\nname: [\n")
	p := startGslb(t, "--routes", dir, "--snapshot", "off", "--listen", "127.0.0.1:0", "--origin", "deck.example")
	server := p.await(t, "answering DNS")["addr"].(string)
	p.await(t, "a file cannot be read; what it held stays in force")
	wantAnswer(t, server, "west-1.deck.example", "SERVFAIL")
	writeFile(t, dir+"/names.yaml", "kind: Gslb\nname: west-1.deck.example\nvips: [{address: 127.0.0.31}]\n")
	wantAnswer(t, server, "west-1.deck.example", "127.0.0.31")
}
