package router

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"gridrouter.io/router/faults"
	"gridrouter.io/router/http1"
	"gridrouter.io/router/upstream"
	"gridrouter.io/router/wire"
	"gridrouter.io/routing"
)

// switches says whether the deck goes on with the protocol that the client asked for.
func (x *exchange) switches() bool {
	a := &x.answer
	return len(x.head.Upgrade) > 0 && a.Switches && http1.SameName(a.Upgrade, x.head.Upgrade) && a.Length < 0 && !a.Chunked
}

// tunnel passes bytes both ways after the deck has switched protocols (RFC 9110 7.8), until
// both sides are done, one breaks, or nothing has come for too long. rest is what has been
// read of the deck's first words.
func (x *exchange) tunnel(rest []byte) routing.Fault {
	c, conn := x.client, x.conn
	x.closes = true
	x.out = x.appendSwitch(x.out[:0])
	t := &tunnel{tenant: x.decision.Tenant, epoch: x.decision.Epoch, deck: x.decision.Deck.Name, client: c}
	x.router.tunnels.add(t)
	defer x.router.tunnels.remove(t)
	x.touchTunnel()
	if err := x.answerBytes(append(x.out, rest...), len(rest)); err != nil {
		return faults.ClientGone
	}
	var up, down pump
	var ended sync.WaitGroup
	ended.Go(func() { up.run(x, &c.Socket, &conn.Socket, c.unread()) })
	down.run(x, &conn.Socket, &c.Socket, nil)
	ended.Wait()
	c.idleBy.Store(wire.NoWait)
	x.bodySent += down.bytes.Load()
	x.upload.bytes.Store(up.bytes.Load())
	if up.broken || down.broken {
		c.abort() // so that nobody takes the part for the whole
	}
	x.detach().Close(upstream.ClosedTunnel)
	return faults.None
}

// appendSwitch appends the answer 101 that the client receives.
func (x *exchange) appendSwitch(dst []byte) []byte {
	a := &x.answer
	x.status = a.Status
	dst = append(dst, "HTTP/1.1 101 "...)
	dst = append(append(dst, a.Reason...), "\r\n"...)
	dst = a.AppendFields(dst)
	dst = append(append(dst, "Connection: Upgrade\r\nUpgrade: "...), a.Upgrade...)
	return append(dst, "\r\n\r\n"...)
}

// touchTunnel notes that something came through the tunnel.
func (x *exchange) touchTunnel() {
	x.client.idleBy.Store(x.router.clock.After(x.router.cfg.ClientTimeouts.Tunnel))
}

// pump is one direction of a tunnel.
type pump struct {
	bytes  atomic.Int64
	broken bool // it ended otherwise than by the end of what was sent
}

// run passes on what comes, beginning with what had come before. Where one side has sent
// all, the other is told, and may go on sending.
func (p *pump) run(x *exchange, from, to *wire.Socket, before []byte) {
	if err := p.copy(x, from, to, before); err != nil {
		p.broken = true
		from.WakeReader()
		from.WakeWriter()
		to.WakeReader()
		to.WakeWriter()
		return
	}
	if half, ok := to.Conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // if it is gone already, its own direction ends
	}
}

func (p *pump) copy(x *exchange, from, to *wire.Socket, before []byte) error {
	pool := &x.router.bodies
	if from.Secure {
		pool = &x.router.records
	}
	if len(before) > 0 {
		if err := p.pass(x, to, before); err != nil {
			return err
		}
	}
	for {
		b, n, err := from.Receive(pool, wire.BodyBytes, wire.Forever)
		if errors.Is(err, io.EOF) || errors.Is(err, upstream.ErrNoCloseNotify) { // what ends within a tunnel its own protocol tells
			return nil
		}
		if err != nil {
			return err
		}
		err = p.pass(x, to, b.Data()[:n])
		pool.Put(b)
		if err != nil {
			return err
		}
	}
}

func (p *pump) pass(x *exchange, to *wire.Socket, data []byte) error {
	x.touchTunnel()
	if to != &x.client.Socket {
		x.lane.receivedBytes.Add(uint64(len(data)))
	}
	n, err := to.WriteUntil(data, x.router.clock.After(x.router.cfg.ClientTimeouts.Write))
	p.bytes.Add(int64(n))
	if to == &x.client.Socket {
		x.lane.sentBytes.Add(uint64(n))
	}
	return err
}

// tunnel is an open tunnel. It belongs to its tenant at an epoch: when the tenant moves,
// it is the tenant's tunnels of earlier epochs that are out of place, and no others.
type tunnel struct {
	tenant string
	epoch  uint64
	deck   string
	client *client
}

// Tunnels counts the open tunnels of a tenant.
func (r *Router) Tunnels(tenant string) int { return r.tunnels.of(tenant) }

// tunnelSet is every open tunnel, by tenant. It is touched when one begins and when it ends.
type tunnelSet struct {
	mu    sync.Mutex
	all   map[string]map[*tunnel]struct{}
	total int
}

func (s *tunnelSet) add(t *tunnel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[string]map[*tunnel]struct{}{}
	}
	if s.all[t.tenant] == nil {
		s.all[t.tenant] = map[*tunnel]struct{}{}
	}
	s.all[t.tenant][t] = struct{}{}
	s.total++
}

func (s *tunnelSet) remove(t *tunnel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all[t.tenant], t)
	if len(s.all[t.tenant]) == 0 {
		delete(s.all, t.tenant)
	}
	s.total--
}

func (s *tunnelSet) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total
}

// of counts the open tunnels of a tenant.
func (s *tunnelSet) of(tenant string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all[tenant])
}
