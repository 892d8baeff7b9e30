package main

import (
	"net/http"
	"path/filepath"
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

// TestAHostThatNoTenantOwnsIsNotDeniedBeforeAllFilesWereRead starts a router on a folder one of whose
// files is broken from the start: it cannot know which hosts are in it. A snapshot of that time does not
// make it known, and a file that breaks later is another matter: what was in it is in force.
func TestAHostThatNoTenantOwnsIsNotDeniedBeforeAllFilesWereRead(t *testing.T) {
	dir, snapshot := t.TempDir(), filepath.Join(t.TempDir(), "r1.snap")
	writeFile(t, dir+"/a.yaml", deckYAML("d1", startDeck(t, "one"))+tenantYAML("d1"))
	writeFile(t, dir+"/b.yaml", "kind: Tenant\nname: [\n")
	s := startServe(t, "--routes", dir, "--snapshot", snapshot, "--access-log", "off")
	s.becomes(t, "one ")
	wantHost := func(s *served, host string, status int, fault string) {
		t.Helper()
		req, err := http.NewRequest(http.MethodGet, "http://"+s.data+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		if got, body := do(req); got != status || !strings.Contains(body, fault) {
			t.Errorf("%s got %d %s, want %d %s", host, got, body, status, fault)
		}
	}
	wantHost(s, "other.example", http.StatusServiceUnavailable, "no_table")
	if status, body := fetch(s.admin + "/readyz"); status != http.StatusOK || !strings.Contains(body, "could never be read") {
		t.Errorf("/readyz: %d %s", status, body)
	}
	if _, body := fetch(s.admin + "/explain?url=http://other.example/"); !strings.Contains(body, "no_table") {
		t.Errorf("/explain: %s", body)
	}
	s.terminate(t)

	s = startServe(t, "--routes", dir, "--snapshot", snapshot, "--access-log", "off")
	s.becomes(t, "one ")
	wantHost(s, "other.example", http.StatusServiceUnavailable, "no_table")
	other := strings.ReplaceAll(tenantYAML("d1"), "acme", "other")
	writeFile(t, dir+"/b.yaml", other)
	testkit.Eventually(t, "the mended file is in force", func() bool {
		_, body := fetch(s.admin + "/readyz")
		return body == "ready\n"
	})
	wantHost(s, "other.example", http.StatusOK, "one ")
	wantHost(s, "nobody.example", http.StatusNotFound, "no_tenant")
	writeFile(t, dir+"/b.yaml", "kind: Tenant\nname: [\n")
	testkit.Eventually(t, "it is listed as a problem", func() bool {
		_, body := fetch(s.admin + "/problems")
		return strings.Contains(body, "unreadable")
	})
	wantHost(s, "nobody.example", http.StatusNotFound, "no_tenant")
	s.terminate(t)

	s = startServe(t, "--routes", dir, "--snapshot", snapshot, "--access-log", "off")
	wantHost(s, "other.example", http.StatusOK, "one ")
	wantHost(s, "nobody.example", http.StatusNotFound, "no_tenant")
}

// TestAGslbServerThatCannotReadAllDeniesNoName starts a GSLB server on a folder one of whose files is
// broken from the start.
func TestAGslbServerThatCannotReadAllDeniesNoName(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, dir+"/a.yaml", "kind: Gslb\nname: west-1.deck.example\nvips: [{address: 127.0.0.31}]\n")
	writeFile(t, dir+"/b.yaml", "kind: Gslb\nname: [\n")
	p := startGslb(t, "--routes", dir, "--snapshot", "off", "--listen", "127.0.0.1:0")
	server := p.await(t, "answering DNS")["addr"].(string)
	wantAnswer(t, server, "west-1.deck.example", "127.0.0.31")
	wantAnswer(t, server, "east-1.deck.example", "SERVFAIL")
	wantAnswer(t, server, "east-1.other.example", "SERVFAIL")
	writeFile(t, dir+"/b.yaml", "kind: Gslb\nname: east-1.deck.example\nvips: [{address: 127.0.0.32}]\n")
	wantAnswer(t, server, "east-1.deck.example", "127.0.0.32")
	wantAnswer(t, server, "nobody.deck.example", "NXDOMAIN")
	wantAnswer(t, server, "east-1.other.example", "REFUSED")
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
