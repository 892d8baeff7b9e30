package router

import (
	"strings"
	"testing"
)

// TestAnAnswer426KeepsItsUpgrade holds the one answer whose Upgrade is for the client.
func TestAnAnswer426KeepsItsUpgrade(t *testing.T) {
	f := func(answer string, want ...string) {
		t.Helper()
		g := newGrid(t, nil)
		g.one(answering(t, answer).addr)
		r := g.ask(get("/"))
		if got := r.Header.Values("Upgrade"); strings.Join(got, "|") != strings.Join(want, "|") {
			t.Errorf("%q: the client got Upgrade %q, want %q", answer, got, want)
		}
		if named := strings.Contains(strings.Join(r.Header.Values("Connection"), ","), "Upgrade"); named != (len(want) > 0) {
			t.Errorf("%q: Connection is %q", answer, r.Header.Values("Connection"))
		}
	}
	f("HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 2\r\n\r\nno", "websocket")
	f("HTTP/1.1 426 Upgrade Required\r\nUpgrade: TLS/1.2, HTTP/1.1\r\nConnection: close, upgrade\r\nContent-Length: 2\r\n\r\nno", "TLS/1.2, HTTP/1.1")
	f("HTTP/1.1 426 Upgrade Required\r\nUpgrade: a\r\nupgrade: b\r\nContent-Length: 2\r\n\r\nno", "a", "b")
	f("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nno")
	f("HTTP/1.1 200 OK\r\nUpgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: 2\r\n\r\nok")
}
