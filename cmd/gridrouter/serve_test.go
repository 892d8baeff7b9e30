package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/bench/testkit/etcdtest"
	"gridrouter.io/discovery/catalog"
)

// startDeck serves a deck that says its name, the Host and the key that it received. It answers for /slow
// once it was asked for /finish.
func startDeck(t *testing.T, name string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	finish := make(chan struct{})
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/slow":
			<-finish
		case "/finish":
			close(finish)
		}
		fmt.Fprintf(w, "%s %s %s %s", name, r.Host, r.Header.Get("X-Grid-Tenant"), r.Header.Get("X-Grid-Router"))
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(ln)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	return ln.Addr().String()
}

func deckYAML(name, addr string) string {
	return fmt.Sprintf("kind: Deck\nname: %s\ndomain: %s.deck.example\nattach: direct\naddresses: [%q]\n---\n", name, name, addr)
}

func tenantYAML(deck string) string {
	return fmt.Sprintf("kind: Tenant\nname: acme\nhosts: [acme.example]\nrules: [{name: all, deck: %s}]\n", deck)
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		t.Fatal(err)
	}
}

// served is a running "gridrouter serve" and where it is.
type served struct {
	*process
	data, admin, health string
}

// startServe starts a router with free ports and waits until it says where it is.
func startServe(t *testing.T, args ...string) *served {
	t.Helper()
	p := start(t, append([]string{"serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--health", "127.0.0.1:0", "--router-id", "r1",
		"--snapshot", filepath.Join(t.TempDir(), "r1.snap"), "--drain-delay", "100ms"}, args...)...)
	fields := p.await(t, "the router started")
	s := &served{process: p, admin: "http://" + fields["admin"].(string), health: "http://" + fields["health"].(string)}
	s.data = fields["listen"].([]any)[0].(string)
	return s
}

// ask sends a request for acme.example; status 0: nobody answered.
func (s *served) ask(path string) (int, string) {
	req, err := http.NewRequest(http.MethodGet, "http://"+s.data+path, nil)
	if err != nil {
		return 0, err.Error()
	}
	req.Host = "acme.example"
	return do(req)
}

func fetch(url string) (int, string) {
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return 0, err.Error()
	}
	return do(req)
}

func do(req *http.Request) (int, string) {
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(body)
}

// becomes waits until acme.example answers so.
func (s *served) becomes(t *testing.T, want string) {
	t.Helper()
	testkit.Eventually(t, "the answer is "+want, func() bool {
		_, body := s.ask("/")
		return strings.HasPrefix(body, want)
	})
}

func (s *served) ready(t *testing.T) {
	t.Helper()
	testkit.Eventually(t, "it is ready", func() bool {
		status, _ := fetch(s.health + "/readyz")
		return status == http.StatusOK
	})
}

func TestServeFollowsAFolder(t *testing.T) {
	dir := t.TempDir()
	one, two := startDeck(t, "one"), startDeck(t, "two")
	writeFile(t, filepath.Join(dir, "decks.yaml"), deckYAML("d1", one)+deckYAML("d2", two))
	writeFile(t, filepath.Join(dir, "tenants.yaml"), tenantYAML("d1"))
	s := startServe(t, "--routes", dir, "--access-log", "off")
	s.ready(t)
	if status, body := s.ask("/"); status != 200 || body != "one d1.deck.example acme r1" {
		t.Fatalf("got %d %q", status, body)
	}
	writeFile(t, filepath.Join(dir, "tenants.yaml"), tenantYAML("d2"))
	s.becomes(t, "two")
	// A bad document keeps its last good form, and is listed.
	writeFile(t, filepath.Join(dir, "tenants.yaml"), "kind: Tenant\nname: acme\nhosts: [acme.example]\nrulez: []\n")
	testkit.Eventually(t, "the problem is listed", func() bool {
		_, body := fetch(s.admin + "/problems")
		return strings.Contains(body, "rulez") && strings.Contains(body, "tenants.yaml")
	})
	s.becomes(t, "two")
	// explain says what the router does: at the admin address, and offline.
	_, online := fetch(s.admin + "/explain?url=http://acme.example/x")
	if !strings.Contains(online, `"deck": "d2"`) {
		t.Fatalf("/explain: %s", online)
	}
	if _, table := fetch(s.admin + "/table"); !strings.Contains(table, `"source": "files"`) || !strings.Contains(table, `"problems": 1`) {
		t.Fatalf("/table: %s", table)
	}
	if status := s.terminate(t); status != 0 {
		t.Fatalf("exit status %d", status)
	}
}

func TestServeDrainsOnRequestAndFinishesWhatIsInFlight(t *testing.T) {
	const delay = 500 * time.Millisecond
	dir, deck := t.TempDir(), startDeck(t, "one")
	writeFile(t, filepath.Join(dir, "all.yaml"), deckYAML("d1", deck)+tenantYAML("d1"))
	s := startServe(t, "--routes", dir, "--access-log", "off", "--drain-delay", delay.String())
	s.ready(t)
	slow := make(chan string, 1)
	go func() {
		_, body := s.ask("/slow")
		slow <- body
	}()
	testkit.Eventually(t, "a request is under way", func() bool {
		_, body := fetch(s.admin + "/decks")
		return strings.Contains(body, `"inFlight": 1`)
	})
	begun := time.Now()
	resp, err := http.Post(s.admin+"/drain", "", nil)
	if err != nil || resp.StatusCode != http.StatusAccepted {
		t.Fatalf("POST /drain: %v %v", resp, err)
	}
	_ = resp.Body.Close()
	if status, body := fetch(s.health + "/readyz"); status != 503 || !strings.Contains(body, "draining") {
		t.Fatalf("/readyz: %d %q", status, body)
	}
	if status, _ := s.ask("/"); status != 200 && time.Since(begun) < delay {
		t.Fatalf("while the delay lasts: %d", status)
	}
	testkit.Eventually(t, "the delay is over", func() bool { status, _ := s.ask("/"); return status == 0 })
	if status, body := fetch("http://" + deck + "/finish"); status != 200 {
		t.Fatalf("the deck: %d %s", status, body)
	}
	if body := <-slow; !strings.HasPrefix(body, "one") {
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

func TestASecondSignalEndsServeAtOnce(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "all.yaml"), deckYAML("d1", startDeck(t, "one"))+tenantYAML("d1"))
	s := startServe(t, "--routes", dir, "--drain-delay", "1h")
	s.ready(t)
	if err := s.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	s.await(t, "draining begins")
	if status := s.terminate(t); status == 0 {
		t.Fatal("it says that it stopped cleanly")
	}
}

func TestSIGHUPOpensTheAccessLogAnewAndReadsTheLogLevel(t *testing.T) {
	dir := t.TempDir()
	routes := filepath.Join(dir, "routes")
	if err := os.Mkdir(routes, 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(routes, "all.yaml"), deckYAML("d1", startDeck(t, "one"))+tenantYAML("d1"))
	config, log := filepath.Join(dir, "config.yaml"), filepath.Join(dir, "access.log")
	writeFile(t, config, "log-level: info\n")
	s := startServe(t, "--routes", routes, "--config", config, "--access-log", log)
	s.ready(t)
	holds := func(file string, lines int) {
		t.Helper()
		testkit.Eventually(t, fmt.Sprintf("%s holds %d lines", file, lines), func() bool {
			text, err := os.ReadFile(file)
			return err == nil && strings.Count(string(text), "\n") == lines && strings.Contains(string(text), `"deck":"d1"`)
		})
	}
	s.ask("/")
	holds(log, 1)
	if err := os.Rename(log, log+".1"); err != nil {
		t.Fatal(err)
	}
	writeFile(t, config, "log-level: debug\n")
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if fields := s.await(t, "reloaded"); fields["logLevel"] != "debug" {
		t.Fatalf("reloaded: %v", fields)
	}
	s.ask("/")
	holds(log, 1)
	holds(log+".1", 1)
	if status := s.terminate(t); status != 0 {
		t.Fatalf("exit status %d", status)
	}
}

func TestAPortInUseIsOneLineWithTheFlagAndTheMend(t *testing.T) {
	dir := t.TempDir()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, flag := range []string{"--listen", "--admin", "--health"} {
		addresses := map[string]string{"--listen": "127.0.0.1:0", "--admin": "127.0.0.1:0", "--health": "127.0.0.1:0"}
		addresses[flag] = taken.Addr().String()
		args := []string{"serve", "--routes", dir}
		for name, addr := range addresses {
			args = append(args, name, addr)
		}
		p := start(t, args...)
		select {
		case <-p.ended:
		case <-time.After(patience):
			t.Fatal("it goes on")
		}
		if status := p.cmd.ProcessState.ExitCode(); status != 1 || len(p.plain) != 1 ||
			!strings.Contains(p.plain[0], flag+": ") || !strings.Contains(p.plain[0], "choose another address") {
			t.Fatalf("%s: exit status %d, said %q", flag, status, p.plain)
		}
	}
}

func TestTheAdminTokenIsAskedFor(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(t.TempDir(), "token")
	writeFile(t, file, "s3cret\n")
	s := startServe(t, "--routes", dir, "--admin-token-file", file)
	if status, _ := fetch(s.admin + "/table"); status != http.StatusUnauthorized {
		t.Fatalf("without the token: %d", status)
	}
	req, err := http.NewRequest(http.MethodGet, s.admin+"/healthz", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer s3cret")
	if status, body := do(req); status != 200 {
		t.Fatalf("with the token: %d %q", status, body)
	}
}

func TestServeOutlivesAnAbsentEtcd(t *testing.T) {
	client := testkit.FreeAddr(t)
	s := startServe(t, "--etcd", "http://"+client, "--access-log", "off")
	fields := s.await(t, "the source of the documents is absent: this router is not ready until it answers, and keeps trying")
	if !strings.Contains(fields["cause"].(string), client) {
		t.Fatalf("the line does not say where: %v", fields)
	}
	if status, body := fetch(s.health + "/readyz"); status != 503 || !strings.Contains(body, client) {
		t.Fatalf("/readyz: %d %q", status, body)
	}
	if status, _ := s.ask("/"); status != 503 {
		t.Fatalf("a request gets %d", status)
	}

	etcd := etcdtest.Start(t, etcdtest.At(client))
	putDocuments(t, client, deckYAML("d1", startDeck(t, "one"))+tenantYAML("d1"))
	s.await(t, "the source of the documents is back")
	s.becomes(t, "one")
	s.ready(t)
	wantWord(t, client, s)

	etcd.Stop()
	s.await(t, "the source of the documents is lost: the documents in force stay, and it keeps trying")
	if status, body := s.ask("/"); status != 200 || !strings.HasPrefix(body, "one") {
		t.Fatalf("without etcd: %d %q", status, body)
	}
	if status, _ := fetch(s.health + "/readyz"); status != 200 {
		t.Fatalf("without etcd it is not ready: %d", status)
	}
	var table struct{ AgeSeconds float64 }
	if _, body := fetch(s.admin + "/table"); json.Unmarshal([]byte(body), &table) != nil || table.AgeSeconds <= 0 {
		t.Fatalf("the age is not visible: %s", body)
	}

	etcd.Restart(t)
	putDocuments(t, client, deckYAML("d1", startDeck(t, "two")))
	s.becomes(t, "two")
	if status := s.terminate(t); status != 0 {
		t.Fatalf("exit status %d", status)
	}
}

// putDocuments writes documents to etcd, as soon as it is there.
func putDocuments(t *testing.T, addr, text string) {
	t.Helper()
	client := etcdClient(t, addr)
	docs, err := catalog.NewReader().ReadFile("docs.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, doc := range docs {
		if doc.Err != nil {
			t.Fatal(doc.Err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		_, err := client.Put(ctx, "/gridrouter/docs/"+doc.Key, string(doc.JSON))
		cancel()
		if err != nil {
			t.Fatal(err)
		}
	}
}

func etcdClient(t *testing.T, addr string) *clientv3.Client {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{"http://" + addr}, DialTimeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// wantWord waits for what the router says of itself in etcd.
func wantWord(t *testing.T, addr string, s *served) {
	t.Helper()
	client := etcdClient(t, addr)
	var got catalog.Status
	testkit.Eventually(t, "the router's catalog.Status is in etcd", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		answer, err := client.Get(ctx, "/gridrouter/fleet/r1")
		return err == nil && len(answer.Kvs) == 1 && json.Unmarshal(answer.Kvs[0].Value, &got) == nil && got.Revision > 0
	})
	if got.ID != "r1" || got.Address != s.data || "http://"+got.Admin != s.admin || len(got.Hash) != 32 || len(got.EffectiveHash) != 32 ||
		got.Source != "etcd" || got.Version == "" || got.Started.IsZero() || got.Problems != 0 {
		t.Fatalf("the catalog.Status is %+v", got)
	}
}

func TestAMeshDeckIsReachedThroughGSLB(t *testing.T) {
	dir := t.TempDir()
	deck := startDeck(t, "mesh")
	_, port, err := net.SplitHostPort(deck)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "all.yaml"), "kind: Deck\nname: m1\ndomain: m1.deck.example\nattach: mesh\nport: "+port+"\n---\n"+tenantYAML("m1")+
		"---\nkind: Gslb\nname: m1.deck.example\nttl: 1\npolicy: weighted\nvips: [{address: 127.0.0.1, weight: 1}]\n")
	names := startGslb(t, "--routes", dir, "--listen", "127.0.0.1:0", "--origin", "deck.example")
	dns := names.await(t, "answering DNS")["addr"].(string)
	s := startServe(t, "--routes", dir, "--gslb", dns, "--access-log", "off")
	s.ready(t)
	if status, body := s.ask("/"); status != 200 || body != "mesh m1.deck.example acme r1" {
		t.Fatalf("got %d %q", status, body)
	}
	if _, body := fetch(s.admin + "/gslb"); !strings.Contains(body, `"name": "m1.deck.example"`) || !strings.Contains(body, `"127.0.0.1"`) || !strings.Contains(body, `"stale": false`) {
		t.Fatalf("/gslb: %s", body)
	}
	// The name server dies; what it said last stays in use.
	names.terminate(t)
	for range 5 {
		if status, _ := s.ask("/"); status != 200 {
			t.Fatalf("without GSLB: %d", status)
		}
	}
	// And so it does when the router starts anew, which is told.
	snap := filepath.Join(t.TempDir(), "r1.snap")
	restarted := startServe(t, "--routes", dir, "--gslb", dns, "--snapshot", snap, "--access-log", "off")
	restarted.ready(t)
	if _, body := fetch(restarted.admin + "/readyz"); !strings.Contains(body, "1 deck(s) have no address, among them m1") {
		t.Errorf("a router that never knew the address says %q", body)
	}
	names = startGslb(t, "--routes", dir, "--listen", dns, "--origin", "deck.example")
	names.await(t, "answering DNS")
	testkit.Eventually(t, "the address is known", func() bool { status, _ := restarted.ask("/"); return status == 200 })
	for _, end := range []func(){func() { restarted.terminate(t) }, func() { // and of what is written meanwhile, one that is killed knows
		testkit.Eventually(t, "the addresses are written", func() bool { _, err := os.Stat(snap + ".addresses"); return err == nil })
		_ = restarted.cmd.Process.Kill()
		<-restarted.ended
	}} {
		names.terminate(t)
		end()
		restarted = startServe(t, "--routes", dir, "--gslb", dns, "--snapshot", snap, "--access-log", "off")
		restarted.ready(t)
		if status, body := restarted.ask("/"); status != 200 || body != "mesh m1.deck.example acme r1" {
			t.Errorf("after a restart without GSLB: %d %q", status, body)
		}
		if _, body := fetch(restarted.admin + "/gslb"); !strings.Contains(body, `"lastError": "`) {
			t.Errorf("/gslb does not tell: %s", body)
		}
		names = startGslb(t, "--routes", dir, "--listen", dns, "--origin", "deck.example")
		names.await(t, "answering DNS")
		testkit.Eventually(t, "the address is fresh", func() bool {
			_, body := fetch(restarted.admin + "/gslb")
			return strings.Contains(body, `"stale": false`) && !strings.Contains(body, `"lastError": "`)
		})
	}
}
