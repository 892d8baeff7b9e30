package etcdtest

import (
	"io"
	"net"
	"sync"
	"testing"
)

// relay passes connections on to an address, and ends them all with the test. Members keep connections to each
// other that nothing else would end.
type relay struct {
	listener net.Listener
	to       string

	lock  sync.Mutex
	open  map[net.Conn]bool // nil once it is closed
	ended sync.WaitGroup
}

// startRelay returns the address at which it listens.
func startRelay(t testing.TB, to string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{listener: listener, to: to, open: map[net.Conn]bool{}}
	r.ended.Go(r.accept)
	t.Cleanup(r.close)
	return listener.Addr().String()
}

func (r *relay) accept() {
	for {
		conn, err := r.listener.Accept()
		if err != nil {
			return // it was closed
		}
		r.ended.Go(func() { r.pass(conn) })
	}
}

func (r *relay) pass(from net.Conn) {
	defer r.drop(from)
	to, err := net.Dial("tcp", r.to)
	if err != nil {
		return // as if it had been refused
	}
	defer r.drop(to)
	if !r.keep(from) || !r.keep(to) {
		return
	}
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(from, to)
		_ = from.Close()
	})
	_, _ = io.Copy(to, from)
	_ = to.Close()
	back.Wait()
}

func (r *relay) keep(conn net.Conn) bool {
	r.lock.Lock()
	defer r.lock.Unlock()
	if r.open == nil {
		return false
	}
	r.open[conn] = true
	return true
}

func (r *relay) drop(conn net.Conn) {
	_ = conn.Close()
	r.lock.Lock()
	defer r.lock.Unlock()
	delete(r.open, conn)
}

func (r *relay) close() {
	_ = r.listener.Close()
	r.lock.Lock()
	for conn := range r.open {
		_ = conn.Close()
	}
	r.open = nil
	r.lock.Unlock()
	r.ended.Wait()
}
