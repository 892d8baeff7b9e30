package discovery

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// newTestClient gives a client of ours on addr, closed with the test.
func newTestClient(t *testing.T, addr string) *clientv3.Client {
	t.Helper()
	client, err := NewClient(ClientConfig{Endpoints: []string{"http://" + addr}, DialTimeout: 2 * time.Second}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// proxy is a TCP forwarder whose address stays while etcd comes and goes, and
// which can be cut and stalled.
type proxy struct {
	addr     string
	listener net.Listener
	all      sync.WaitGroup

	mu     sync.Mutex
	target string // empty: refuse
	gate   chan struct{}
	mute   chan struct{} // closed at the end: what connections made so far are stuck on, if muted
	muted  map[net.Conn]bool
	conns  map[net.Conn]bool
}

func startProxy(t *testing.T, target string) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	open := make(chan struct{})
	close(open)
	p := &proxy{addr: listener.Addr().String(), listener: listener, target: target, gate: open,
		mute: make(chan struct{}), muted: map[net.Conn]bool{}, conns: map[net.Conn]bool{}}
	p.all.Go(p.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		p.resume()
		close(p.mute)
		p.cut()
		p.all.Wait()
	})
	return p
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		target := p.target
		p.mu.Unlock()
		server, err := net.Dial("tcp", target)
		if target == "" || err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		p.conns[client], p.conns[server] = true, true
		if p.target != target { // cut in between
			_, _ = client.Close(), server.Close()
		}
		p.mu.Unlock()
		p.all.Go(func() { p.pump(client, server) })
		p.all.Go(func() { p.pump(server, client) })
	}
}

// pump copies one way, through the gate.
func (p *proxy) pump(from, to net.Conn) {
	defer func() { _, _ = from.Close(), to.Close() }()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		p.mu.Lock()
		gate := p.gate
		if p.muted[from] {
			gate = p.mute
		}
		p.mu.Unlock()
		<-gate
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// cut closes all connections and refuses new ones.
func (p *proxy) cut() { p.point("") }

// point sends new connections to target and closes those there are.
func (p *proxy) point(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
	for conn := range p.conns {
		_ = conn.Close()
		delete(p.conns, conn)
	}
}

// silence keeps the connections there are, which let nothing through any more;
// new ones work.
func (p *proxy) silence() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		p.muted[conn] = true
	}
}

// stall keeps the connections and lets nothing through.
func (p *proxy) stall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gate = make(chan struct{})
}

func (p *proxy) resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.gate:
	default:
		close(p.gate)
	}
}

// etcdWriter writes each commit in one transaction.
type etcdWriter struct {
	client *clientv3.Client
	root   string
}

func (w etcdWriter) commit(t *testing.T, put map[string]string, deleted ...string) {
	t.Helper()
	w.revision(t, put, deleted...)
}

// revision is commit, and gives the revision that the commit made.
func (w etcdWriter) revision(t *testing.T, put map[string]string, deleted ...string) int64 {
	t.Helper()
	var ops []clientv3.Op
	for key, value := range put {
		ops = append(ops, clientv3.OpPut(w.root+key, value))
	}
	for _, key := range deleted {
		ops = append(ops, clientv3.OpDelete(w.root+key))
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	answer, err := w.client.Txn(ctx).Then(ops...).Commit()
	if err != nil {
		t.Fatalf("write to etcd: %v", err)
	}
	return answer.Header.Revision
}
