package clusters_test

import (
	"io"
	"net"
	"sync"
	"testing"
)

// gateway is an address that leads to an API server, until a test has it go away.
type gateway struct {
	t       *testing.T
	address string // of its own, the same whenever it is open
	target  string

	mu       sync.Mutex
	listener net.Listener
	sockets  map[net.Conn]bool // of clients
	silent   bool
	accepted int
	answers  int // pieces of them
	running  sync.WaitGroup
}

// newGateway opens an address that leads to a target.
func newGateway(t *testing.T, target string) *gateway {
	t.Helper()
	g := &gateway{t: t, address: "127.0.0.1:0", target: target, sockets: map[net.Conn]bool{}}
	g.open()
	t.Cleanup(func() {
		g.close()
		g.running.Wait()
	})
	return g
}

// open listens, at the same address again if it was closed.
func (g *gateway) open() {
	g.t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(g.t.Context(), "tcp", g.address)
	if err != nil {
		g.t.Fatal(err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.listener, g.address, g.silent = listener, listener.Addr().String(), false
	g.running.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			g.running.Go(func() { g.serve(client) })
		}
	})
}

// close refuses connections, and ends those that there are.
func (g *gateway) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	_ = g.listener.Close()
	for client := range g.sockets {
		_ = client.Close()
	}
}

// fallSilent ends the connections that there are, and takes new ones without a word.
func (g *gateway) fallSilent() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.silent = true
	for client := range g.sockets {
		_ = client.Close()
	}
}

// open connections and all that ever were.
func (g *gateway) counts() (now, ever int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.sockets), g.accepted
}

func (g *gateway) serve(client net.Conn) {
	g.mu.Lock()
	g.sockets[client] = true
	g.accepted++
	silent := g.silent
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		delete(g.sockets, client)
		g.mu.Unlock()
	}()
	defer client.Close()
	if silent {
		_, _ = io.Copy(io.Discard, client)
		return
	}
	server, err := net.Dial("tcp", g.target)
	if err != nil {
		return
	}
	defer server.Close()
	g.running.Go(func() {
		defer client.Close()
		_, _ = io.Copy(client, &counted{g, server})
	})
	_, _ = io.Copy(server, client)
}

// counted counts the pieces that come from the API server.
type counted struct {
	gateway *gateway
	server  io.Reader
}

func (c *counted) Read(into []byte) (int, error) {
	n, err := c.server.Read(into)
	c.gateway.mu.Lock()
	defer c.gateway.mu.Unlock()
	c.gateway.answers++
	return n, err
}

// answered returns how many pieces of answers came from the API server.
func (g *gateway) answered() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.answers
}
