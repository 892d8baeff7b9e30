package router

import (
	"strings"
	"testing"
)

// forwarded asks with fields, and returns what the deck received of forwarding, line by line.
func forwarded(t *testing.T, g *grid, heads chan string, fields ...string) (got []string) {
	t.Helper()
	wantStatus(t, g.ask(get("/", fields...)), 200, "")
	for _, line := range lines(<-heads) {
		if lower := strings.ToLower(line); strings.HasPrefix(lower, "x-forwarded-") || strings.HasPrefix(lower, "forwarded:") || strings.HasPrefix(lower, "x-real-ip") {
			got = append(got, line)
		}
	}
	return got
}

// chainReader returns a function that sends fields to a router which trusts its peer, and wants what the
// deck receives: chain, scheme, host, port, and Forwarded.
func chainReader(t *testing.T) func(chain, proto, host, port, forwardedLines string, fields ...string) {
	g := newGrid(t, func(cfg *Config) { cfg.TrustedProxies = prefixes("127.0.0.0/8", "10.0.0.0/8") })
	addr, heads := recording(t)
	g.one(addr)
	return func(chain, proto, host, port, forwardedLines string, fields ...string) {
		t.Helper()
		want := map[string]string{"X-Forwarded-For": chain, "X-Forwarded-Proto": proto, "X-Forwarded-Host": host, "X-Forwarded-Port": port, "Forwarded": forwardedLines}
		got := map[string]string{}
		for _, line := range forwarded(t, g, heads, fields...) {
			name, value, _ := strings.Cut(line, ": ")
			if got[name] != "" {
				value = got[name] + " | " + value
			}
			got[name] = value
		}
		for name, value := range want {
			if got[name] != value {
				t.Errorf("%q: %s is %q, want %q", fields, name, got[name], value)
			}
		}
	}
}

const peer, acme = "127.0.0.1", "acme.test"

// TestOneChainIsReadAndWritten tries what a trusted peer may say in fields X-Forwarded-*.
func TestOneChainIsReadAndWritten(t *testing.T) {
	f := chainReader(t)
	f(peer, "http", acme, "80", "")
	// The scheme is the client's, however it is spelled or listed.
	f(peer, "https", acme, "443", "", "X-Forwarded-Proto: https")
	f(peer, "wss", acme, "443", "", "X-Forwarded-Proto: wss")
	f(peer, "ws", acme, "80", "", "X-Forwarded-Proto: ws")
	f(peer, "HTTPS", acme, "443", "", "X-Forwarded-Proto: HTTPS")
	f(peer, "http", acme, "80", "", "X-Forwarded-Proto: gopher")
	f(peer, "http", acme, "80", "", "X-Forwarded-Proto:")
	f(peer, "http", acme, "80", "", "X-Forwarded-Proto: , ,")
	f(peer, "https", acme, "443", "", "X-Forwarded-Proto: https,")
	f("192.0.2.1, "+peer, "https", acme, "443", "", "X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: https")
	f("192.0.2.1, 10.0.0.1, "+peer, "https", acme, "443", "", "X-Forwarded-For: 192.0.2.1, 10.0.0.1", "X-Forwarded-Proto: https,http")
	f("192.0.2.1, 10.0.0.1, "+peer, "https", acme, "443", "", "X-Forwarded-For: 192.0.2.1, 10.0.0.1", "X-Forwarded-Proto: https", "X-Forwarded-Proto: http")
	f("192.0.2.1, 10.0.0.1, "+peer, "https", acme, "443", "", "X-Forwarded-For: 192.0.2.1, 10.0.0.1", "X-Forwarded-Proto: https") // written anew by the last
	// What a client made up before the first trusted proxy is not believed.
	f("1.1.1.1, 192.0.2.1, 10.0.0.1, "+peer, "http", acme, "80", "", "X-Forwarded-For: 1.1.1.1, 192.0.2.1, 10.0.0.1", "X-Forwarded-Proto: https, http, https")
	// Empty elements are none, and the chain is written without them.
	f("1.2.3.4, "+peer, "http", acme, "80", "", "X-Forwarded-For: 1.2.3.4,")
	f("1.2.3.4, 10.0.0.1, "+peer, "http", acme, "80", "", "X-Forwarded-For: ,1.2.3.4 ,,", "X-Forwarded-For: , 10.0.0.1")
	f(peer, "http", acme, "80", "", "X-Forwarded-For:", "X-Forwarded-For: ,")
	f("unknown, "+peer, "http", acme, "80", "", "X-Forwarded-For: unknown")
	// Hosts and ports go with it.
	f(peer, "http", "www.test", "80", "", "X-Forwarded-Host: www.test")
	f(peer, "http", "www.test:8443", "8443", "", "X-Forwarded-Host: www.test:8443")
	f(peer, "https", "www.test", "443", "", "X-Forwarded-Host: www.test", "X-Forwarded-Proto: https")
	f(peer, "http", "[2001:db8::1]", "80", "", "X-Forwarded-Host: [2001:db8::1]")
	f(peer, "http", "a.test", "80", "", "X-Forwarded-Host: b.test, a.test")
	f(peer, "http", acme, "80", "", "X-Forwarded-Host: two words")
	f(peer, "http", acme, "80", "", "X-Forwarded-Host: user@evil.test")
	f(peer, "http", acme, "8443", "", "X-Forwarded-Port: 8443")
	f(peer, "http", acme, "80", "", "X-Forwarded-Port: 99999")
	f(peer, "http", acme, "80", "", "X-Forwarded-Port: 0")
	f(peer, "http", acme, "80", "", "X-Forwarded-Port: x")
	f("192.0.2.1, 10.0.0.1, "+peer, "http", acme, "443", "", "X-Forwarded-For: 192.0.2.1, 10.0.0.1", "X-Forwarded-Port: 443,80")
}

// TestForwardedIsReadAndWritten tries Forwarded, alone and beside X-Forwarded-For.
func TestForwardedIsReadAndWritten(t *testing.T) {
	f := chainReader(t)
	// Forwarded alone is the chain, and tells the deck the same in both forms.
	f("192.0.2.1, "+peer, "http", acme, "80", "for=192.0.2.1 | for=127.0.0.1;proto=http", "Forwarded: for=192.0.2.1")
	f("192.0.2.1, 10.0.0.1, "+peer, "https", "www.test:444", "444", `for=192.0.2.1;proto=https;host="www.test:444", for=10.0.0.1;proto=http | for=127.0.0.1;proto=http`,
		`Forwarded: for=192.0.2.1;proto=https;host="www.test:444", for=10.0.0.1;proto=http`)
	f("2001:db8::1, "+peer, "http", acme, "80", `for="[2001:db8::1]:4711" | for=127.0.0.1;proto=http`, `Forwarded: for="[2001:db8::1]:4711"`)
	f("unknown, unknown, "+peer, "http", acme, "80", "for=unknown, for=_hidden | for=127.0.0.1;proto=http", "Forwarded: for=unknown, for=_hidden")
	f("unknown, "+peer, "https", acme, "443", "proto=https | for=127.0.0.1;proto=http", "Forwarded: proto=https")
	// What is malformed is not believed, nor is what stands before it, and it does not go on: the
	// router's own element would be a part of it. Here a client opened a quote and a balancer appended.
	f("unknown, "+peer, "http", acme, "80", "", `Forwarded: for=6.6.6.6;x=", for=10.0.0.9;host="acme.test"`)
	f("unknown, "+peer, "http", acme, "80", "", `Forwarded: for="6.6.6.6`)
	f("unknown, "+peer, "http", acme, "80", "", `Forwarded: for=6.6.6.6;for=7.7.7.7`)
	f("unknown, "+peer, "http", acme, "80", "", `Forwarded: for=6.6.6.6;proto`)
	f("unknown, "+peer, "http", acme, "80", "", `Forwarded: for=6.6.6.6;proto=a"b"`)
	f("unknown, 192.0.2.1, "+peer, "http", acme, "80", "", `Forwarded: for="6.6.6.6\", for=192.0.2.1`, `Forwarded: for=192.0.2.1`)
	f("192.0.2.1, "+peer, "http", acme, "80", `for=192.0.2.1;x="a\"b" | for=127.0.0.1;proto=http`, `Forwarded: for=192.0.2.1;x="a\"b"`)
	// Both pass where they say the same; else X-Forwarded-For is the chain, and the other is gone.
	f("192.0.2.1, "+peer, "http", acme, "80", "for=192.0.2.1 | for=127.0.0.1;proto=http", "Forwarded: for=192.0.2.1", "X-Forwarded-For: 192.0.2.1")
	f("192.0.2.1, "+peer, "http", acme, "80", "", "Forwarded: for=10.9.9.9;proto=https;host=evil.test", "X-Forwarded-For: 192.0.2.1")
	f("192.0.2.1, 10.0.0.1, "+peer, "http", acme, "80", "", "Forwarded: for=192.0.2.1", "X-Forwarded-For: 192.0.2.1, 10.0.0.1")
}

// TestNobodyElseIsBelieved has a peer that is not trusted say the same.
func TestNobodyElseIsBelieved(t *testing.T) {
	g := newGrid(t, nil)
	addr, heads := recording(t)
	g.one(addr)
	got := strings.Join(forwarded(t, g, heads, "X-Forwarded-For: 1.2.3.4", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil.test", "X-Forwarded-Port: 1",
		"Forwarded: for=1.2.3.4;proto=https", "X-Real-Ip: 1.2.3.4", "X-Forwarded-Prefix: /evil"), "\n")
	if want := "X-Forwarded-For: 127.0.0.1\nX-Forwarded-Proto: http\nX-Forwarded-Host: acme.test\nX-Forwarded-Port: 80"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	g.one(addr)
	wantStatus(t, g.ask("GET / HTTP/1.1\r\nHost: acme.test:8088\r\n\r\n"), 200, "")
	if head := <-heads; !strings.Contains(head, "\r\nX-Forwarded-Port: 8088\r\n") {
		t.Errorf("got %q", head)
	}
}
