package services

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// dialTimeout is how long a pod may take to accept a connection.
const dialTimeout = 3 * time.Second

// Forwarder listens on all addresses of a Table and hands connections on. The zero Forwarder
// listens nowhere. Its methods may be called at once.
type Forwarder struct {
	mu     sync.Mutex
	fronts map[netip.AddrPort]*front
}

// front is one address that is listened on.
type front struct {
	listener net.Listener

	mu        sync.Mutex
	endpoints []string
}

// Set puts a table in force: new addresses are listened on, those that are gone refuse new
// connections. Connections that exist stay with the pod they were given to. What cannot be
// listened on is told and left out; all else holds.
func (f *Forwarder) Set(table Table) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fronts == nil {
		f.fronts = map[netip.AddrPort]*front{}
	}
	for address, front := range f.fronts {
		if _, stays := table[address]; !stays {
			_ = front.listener.Close()
			delete(f.fronts, address)
		}
	}
	var failed []error
	for address, endpoints := range table {
		if front := f.fronts[address]; front != nil {
			front.set(endpoints)
			continue
		}
		listener, err := net.Listen("tcp", address.String())
		if err != nil {
			failed = append(failed, err)
			continue
		}
		front := &front{listener: listener, endpoints: endpoints}
		f.fronts[address] = front
		go accept(listener, front.pick)
	}
	return errors.Join(failed...)
}

// Close stops to listen.
func (f *Forwarder) Close() error { return f.Set(nil) }

func (f *front) set(endpoints []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.endpoints = endpoints
}

// pick chooses an endpoint by chance, as kube-proxy does.
func (f *front) pick() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.endpoints[rand.IntN(len(f.endpoints))]
}

// Forward hands all connections of a listener on to one endpoint, until the listener is closed.
func Forward(listener net.Listener, endpoint string) {
	accept(listener, func() string { return endpoint })
}

func accept(listener net.Listener, pick func() string) {
	for {
		client, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			go forward(client.(*net.TCPConn), pick())
		}
	}
}

// forward joins a connection with one to an endpoint. What ends one, ends the other in the same
// way: a reset is handed on as a reset.
func forward(client *net.TCPConn, endpoint string) {
	defer client.Close() //nolint:errcheck // both directions have ended
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", endpoint)
	if err != nil {
		_ = client.SetLinger(0)
		return
	}
	pod := conn.(*net.TCPConn)
	defer pod.Close() //nolint:errcheck // as above
	done := make(chan struct{})
	go func() {
		defer close(done)
		relay(pod, client)
	}()
	relay(client, pod)
	<-done
}

// relay copies one direction until its end, which it hands on.
func relay(to, from *net.TCPConn) {
	_, err := io.Copy(to, from)
	if errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		for _, conn := range []*net.TCPConn{to, from} {
			_ = conn.SetLinger(0)
			_ = conn.Close() // which ends the other direction as well
		}
		return
	}
	_ = to.CloseWrite()
}
