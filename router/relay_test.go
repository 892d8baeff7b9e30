package router

import "testing"

func TestARequestReachesItsDeckAndComesBack(t *testing.T) {
	g := newGrid(t, nil)
	g.one(answering(t, fine).addr)
	w := g.dial()
	for range 3 {
		w.send(get("/"))
		if r := w.reply("GET"); r.StatusCode != 200 || r.body != "ok" {
			t.Fatalf("got %d %q", r.StatusCode, r.body)
		}
	}
}
