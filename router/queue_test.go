package router

import (
	"context"
	"net"
	"testing"
	"time"
)

// TestAListenerThatStopsTakesWhoIsInItsQueue connects clients to a listener from which
// nobody takes them until it has been told to stop.
func TestAListenerThatStopsTakesWhoIsInItsQueue(t *testing.T) {
	const clients = 50
	g := newGrid(t, nil)
	ln, err := g.router.listen(context.Background(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	for range clients {
		dialRaw(t, ln.Addr().String())
	}
	ln.stop()
	if err := ln.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatalf("it closed with clients in its queue: %v", err)
	}
	taken := 0
	for {
		c := ln.accept()
		if c == nil {
			break
		}
		taken++
		c.close()
	}
	if taken != clients {
		t.Errorf("%d of %d clients were taken", taken, clients)
	}
	if conn, err := net.Dial("tcp", ln.Addr().String()); err == nil {
		_ = conn.Close()
		t.Error("it still takes connections")
	}
}
