package router

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"

	"gridrouter.io/router/admin"
	"gridrouter.io/routing"
)

// adminOf serves the admin endpoints of a grid's router on a real socket.
func adminOf(g *grid, adjust func(*admin.Config)) *served {
	registry := prometheus.NewRegistry()
	registry.MustRegister(NewCollector(g.router))
	cfg := admin.Config{Version: "v9", Gatherer: registry, Source: func() admin.SourceStatus {
		return admin.SourceStatus{Kind: "files", Connected: true, Age: 1500 * time.Millisecond, LastError: "etcd is away"}
	}}
	if adjust != nil {
		adjust(&cfg)
	}
	return serve(g.t, admin.New(g.router, cfg))
}

// served is where a handler is served.
type served struct{ URL string }

func serve(t testing.TB, handler fasthttp.RequestHandler) *served {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- (&admin.Server{Handler: handler}).Serve(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return &served{"http://" + listener.Addr().String()}
}

// fetch asks an endpoint; header lines follow the path.
func fetch(t *testing.T, method, url string, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	resp, err := (&http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// fetchJSON asks an endpoint for JSON.
func fetchJSON(t *testing.T, url string) map[string]any {
	t.Helper()
	status, body := fetch(t, "GET", url)
	var got map[string]any
	if err := json.Unmarshal([]byte(body), &got); err != nil || status != 200 {
		t.Fatalf("%s: %d %q %v", url, status, body, err)
	}
	return got
}

func TestHealthAndReadiness(t *testing.T) {
	g := newGrid(t, nil)
	server := adminOf(g, nil)
	health := serve(t, admin.NewHealth(g.router, nil))
	f := func(url string, status int, text string) {
		t.Helper()
		if got, body := fetch(t, "GET", url); got != status || !strings.Contains(body, text) {
			t.Fatalf("%s: got %d %q, want %d %q", url, got, body, status, text)
		}
	}
	f(server.URL+"/healthz", 200, "alive")
	f(server.URL+"/readyz", 503, "not ready: no documents have been loaded yet (etcd is away)")
	f(health.URL+"/readyz", 503, "not ready")
	g.publish()
	for _, each := range []*served{server, health} {
		f(each.URL+"/readyz", 200, "ready")
		f(each.URL+"/healthz", 200, "alive")
	}
	g.router.BeginDrain()
	f(server.URL+"/readyz", 503, "draining")
	f(health.URL+"/readyz", 503, "draining")
	f(health.URL+"/healthz", 200, "alive")
	for _, path := range []string{"/", "/metrics", "/table", "/drain", "/debug/pprof/"} {
		f(health.URL+path, 404, "")
	}
}

func TestWhatTheAdminEndpointsShow(t *testing.T) {
	g := newGrid(t, nil)
	server := adminOf(g, func(cfg *admin.Config) { cfg.GSLB = func() any { return []string{"m1.deck.test"} } })
	if status, _ := fetch(t, "GET", server.URL+"/table"); status != 503 {
		t.Fatalf("/table without a table: %d", status)
	}
	deck := answering(t, fine)
	g.one(deck.addr)
	g.docs["tenants/bad"] = []byte(`{"kind":"Tenant","name":"bad","hosts":["bad.test"],"rules":[]}`)
	g.put(&routing.Pin{Tenant: "acme", Key: "7", Deck: "d1"})
	wantStatus(t, g.ask(get("/")), 200, "")
	g.over()

	table := fetchJSON(t, server.URL+"/table")
	counts, _ := table["counts"].(map[string]any)
	if table["revision"] != 2.0 || table["source"] != "files" || table["ageSeconds"] != 1.5 || table["hash"] != g.router.Table().Hash() ||
		table["effectiveHash"] != g.router.Table().EffectiveHash() || counts["tenants"] != 2.0 || counts["pins"] != 1.0 || counts["problems"] != 1.0 {
		t.Fatalf("/table: %v", table)
	}
	tenant := fetchJSON(t, server.URL+"/tenants/acme")
	if tenant["epoch"] != 7.0 || tenant["pins"] != 1.0 || len(tenant["hosts"].([]any)) != 1 || tenant["document"] == nil {
		t.Fatalf("/tenants/acme: %v", tenant)
	}
	if bad := fetchJSON(t, server.URL+"/tenants/bad"); bad["document"] != nil || len(bad["problems"].([]any)) != 1 {
		t.Fatalf("/tenants/bad: %v", bad)
	}
	f := func(path string, status int, texts ...string) {
		t.Helper()
		got, body := fetch(t, "GET", server.URL+path)
		if got != status {
			t.Fatalf("%s: %d %q", path, got, body)
		}
		for _, text := range texts {
			if !strings.Contains(body, text) {
				t.Fatalf("%s: no %q in %q", path, text, body)
			}
		}
	}
	f("/tenants/nobody", 404, "no such tenant")
	f("/problems", 200, `"tenants/bad"`)
	f("/decks", 200, `"name": "d1"`, `"address": "`+deck.addr+`"`, `"health": "in use"`, `"state": "active"`, `"inFlight": 0`)
	f("/gslb", 200, "m1.deck.test")
	f("/version", 200, `"version": "v9"`, `"id": "router-under-test"`)
	f("/metrics", 200, `gridrouter_requests_total{class="2xx",deck="d1"} 1`, "gridrouter_table_pins 1")
	f("/debug/pprof/", 200, "goroutine")
	f("/explain?url=http://acme.test/x&method=POST&header=A:b&header=C:d&clientIP=192.0.2.1", 200, `"deck": "d1"`, `"method": "POST"`, `"rule": "all"`)
	f("/explain?url=http://acme.test/%23", 200, `"fault": "bad_request"`)
	f("/explain", 400, "?url=http://HOST/PATH&method=M&header=Name:Value&clientIP=IP&revision=N")
	f("/explain?url=/x", 400, "names no host")
	f("/explain?url=http://a/&clientIP=x", 400, "no IP address")
	f("/nothing", 404)
}

func TestDrainingCanBeAskedForOnce(t *testing.T) {
	g := newGrid(t, nil)
	calls := 0
	server := adminOf(g, func(cfg *admin.Config) { cfg.Drain = func() { calls++ } })
	if status, _ := fetch(t, "GET", server.URL+"/drain"); status != 405 {
		t.Fatalf("GET: %d", status)
	}
	if status, _ := fetch(t, "POST", server.URL+"/drain", "Origin: http://evil.test"); status != 403 {
		t.Fatalf("from a page: %d", status)
	}
	for range 2 {
		if status, _ := fetch(t, "POST", server.URL+"/drain"); status != 202 {
			t.Fatalf("POST: %d", status)
		}
	}
	if calls != 1 || g.router.Ready() == nil {
		t.Fatalf("%d calls, ready: %v", calls, g.router.Ready())
	}
}

func TestATokenIsAskedForWhereThereIsOne(t *testing.T) {
	g := newGrid(t, nil)
	server := adminOf(g, func(cfg *admin.Config) { cfg.Token = "s3cret" })
	f := func(status int, header ...string) {
		t.Helper()
		for _, path := range []string{"/healthz", "/version", "/metrics", "/debug/pprof/", "/nothing"} {
			got, body := fetch(t, "GET", server.URL+path, header...)
			if (got == 401) != (status == 401) || strings.Contains(body, "s3cret") {
				t.Fatalf("%s with %q: %d %q", path, header, got, body)
			}
		}
	}
	f(401)
	f(401, "Authorization: Bearer wrong")
	f(401, "Authorization: Bearer ")
	f(401, "Authorization: Basic s3cret")
	f(200, "Authorization: Bearer s3cret")
	f(200, "Authorization: bearer s3cret")
}
