package router

import (
	"context"
	"net"
	"testing"
	"time"
)

// TestAListenerThatStopsTakesWhoIsInItsQueue connects clients to a listener from which
// nobody takes them until it has been told to stop. Once it is also held back between turning to its
// queue and looking into it, for longer than it waits for one more.
func TestAListenerThatStopsTakesWhoIsInItsQueue(t *testing.T) {
	const clients = 50
	f := func(heldBack bool) {
		t.Helper()
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
		if heldBack {
			g.router.clients.mu.Lock() // which it looks at just before its queue
			time.AfterFunc(5*queuePause, g.router.clients.mu.Unlock)
		}
		taken := 0
		for c := ln.accept(); c != nil; c = ln.accept() {
			taken++
			c.close()
		}
		if taken != clients {
			t.Errorf("%d of %d clients were taken, held back: %v", taken, clients, heldBack)
		}
		if conn, err := net.Dial("tcp", ln.Addr().String()); err == nil {
			_ = conn.Close()
			t.Error("it still takes connections")
		}
	}
	f(false)
	f(true)
}

// TestAListenerThatStopsEndsThoughClientsKeepComing has somebody connect whenever another was taken, which
// is faster than the pause by which a queue is seen to be empty.
func TestAListenerThatStopsEndsThoughClientsKeepComing(t *testing.T) {
	g := newGrid(t, nil)
	ln, err := g.router.listen(context.Background(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for c := ln.accept(); c != nil; c = ln.accept() {
			c.close()
		}
	}()
	ln.stop()
	taken, end := 0, time.Now().Add(patience)
	for conn, err := net.Dial("tcp", ln.Addr().String()); err == nil; conn, err = net.Dial("tcp", ln.Addr().String()) {
		_, _ = conn.Read(make([]byte, 1)) // until the router has closed it
		_ = conn.Close()
		if taken++; time.Now().After(end) {
			t.Fatalf("it still takes connections after %d", taken)
		}
	}
	<-ended
	if taken == 0 {
		t.Error("it took nobody")
	}
}
