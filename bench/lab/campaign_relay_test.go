package lab_test

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// way is what a relay does with what passes it.
type way int

const (
	open   way = iota // hand it on
	silent            // hand nothing on, and close nothing, as a firewall that drops packets
	broken            // reset what is open, and refuse what comes
)

// relay stands between a part of the grid and a TCP server, and can be cut.
type relay struct {
	listener net.Listener
	target   string
	work     sync.WaitGroup

	mu      sync.Mutex
	changed *sync.Cond
	way     way
	closed  bool
	conns   map[net.Conn]struct{}
}

// newRelay starts a relay to the target at an address of its own.
func newRelay(target string) (*relay, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &relay{listener: listener, target: target, conns: map[net.Conn]struct{}{}}
	r.changed = sync.NewCond(&r.mu)
	r.work.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			r.work.Go(func() { r.forward(conn) })
		}
	})
	return r, nil
}

func (r *relay) address() string { return r.listener.Addr().String() }

// set changes the relay's way.
func (r *relay) set(w way) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.way = w
	if w == broken {
		r.reset()
	}
	r.changed.Broadcast()
}

// reset ends all connections. The caller holds mu.
func (r *relay) reset() {
	for conn := range r.conns {
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = conn.Close()
	}
}

// keep takes a connection into what reset ends; false: it is to be ended now.
func (r *relay) keep(conn net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.way == broken {
		_ = conn.Close()
		return false
	}
	r.conns[conn] = struct{}{}
	return true
}

func (r *relay) drop(conn net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, conn)
	_ = conn.Close()
}

// passable waits while the relay is silent.
func (r *relay) passable() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.way == silent && !r.closed {
		r.changed.Wait()
	}
}

func (r *relay) forward(client net.Conn) {
	if !r.keep(client) {
		return
	}
	defer r.drop(client)
	r.passable()
	server, err := net.DialTimeout("tcp", r.target, answerLimit)
	if err != nil || !r.keep(server) {
		return
	}
	defer r.drop(server)
	var other sync.WaitGroup
	other.Go(func() { r.pipe(client, server) })
	r.pipe(server, client)
	other.Wait()
}

// pipe hands on what one end says, and ends both when it ends.
func (r *relay) pipe(to, from net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		r.passable()
		if n > 0 {
			if _, failed := to.Write(buffer[:n]); failed != nil {
				err = failed
			}
		}
		if err != nil {
			_ = to.Close()
			_ = from.Close()
			return
		}
	}
}

func (r *relay) close() {
	_ = r.listener.Close()
	r.mu.Lock()
	r.closed = true
	r.reset()
	r.changed.Broadcast()
	r.mu.Unlock()
	r.work.Wait()
}

// slowNames stands between a router and the DNS server, and can be slow.
type slowNames struct {
	conn  net.PacketConn
	to    string
	work  sync.WaitGroup
	delay atomic.Int64 // nanoseconds
}

// namesAtOnce bounds how many questions are under way; others are lost, as UDP may.
const namesAtOnce = 256

func newSlowNames(to string) (*slowNames, error) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &slowNames{conn: conn, to: to}
	s.work.Go(func() {
		places := make(chan struct{}, namesAtOnce)
		for {
			packet := make([]byte, 4096)
			n, asker, err := conn.ReadFrom(packet)
			if err != nil {
				return
			}
			select {
			case places <- struct{}{}:
				s.work.Go(func() {
					s.answer(packet[:n], asker)
					<-places
				})
			default:
			}
		}
	})
	return s, nil
}

func (s *slowNames) answer(question []byte, asker net.Addr) {
	time.Sleep(time.Duration(s.delay.Load()))
	server, err := net.Dial("udp", s.to)
	if err != nil {
		return
	}
	defer server.Close()
	_ = server.SetDeadline(time.Now().Add(2 * time.Second))
	if _, err := server.Write(question); err != nil {
		return
	}
	reply := make([]byte, 4096)
	if n, err := server.Read(reply); err == nil {
		_, _ = s.conn.WriteTo(reply[:n], asker)
	}
}

func (s *slowNames) close() {
	_ = s.conn.Close()
	s.work.Wait()
}
