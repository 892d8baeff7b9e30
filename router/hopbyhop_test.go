package router

import (
	"strings"
	"testing"
)

// TestFieldsOfOneConnectionEndThereUnnamed sends the fields that are for one connection
// only, without Connection naming them: a deck must not see them all the same.
func TestFieldsOfOneConnectionEndThereUnnamed(t *testing.T) {
	g := newGrid(t, nil)
	addr, heads := recording(t)
	g.one(addr)
	f := func(line string) {
		t.Helper()
		wantStatus(t, g.ask(get("/", line, "X-Stays: 1")), 200, "")
		head := <-heads
		name, _, _ := strings.Cut(line, ":")
		if strings.Contains(head, "\r\n"+name+":") || !strings.Contains(head, "\r\nX-Stays: 1\r\n") {
			t.Errorf("%s: the deck got %q", line, head)
		}
	}
	f("Keep-Alive: timeout=5")
	f("Proxy-Connection: keep-alive")
	f("TE: trailers")
	f("Trailer: X-T")
	f("Upgrade: websocket")
	f("Proxy-Authorization: Basic eA==")
}
