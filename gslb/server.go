package gslb

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// DefaultResponseRate is how many answers a second over UDP go to one source prefix, if the ServerConfig does not say. A fleet of 100
// routers in one /24 that follow 100 names of the default TTL asks for about as many.
const DefaultResponseRate = 5000

// shutdownTimeout bounds how long Run waits for handlers at its end. They are bounded by the write deadline, so it is never reached.
const shutdownTimeout = 2 * tcpWriteTimeout

// A ServerConfig configures a Server. The zero value of every field but Addr means its default.
type ServerConfig struct {
	// Addr is the IP:port to serve at, over UDP and TCP. Port 0 lets the system choose; see [Server.Addr].
	Addr string
	// ResponseRate is how many answers a second over UDP go to one source prefix (/24 or /56); twice as many may go at once. Beyond it every
	// second answer is sent empty and truncated, so that honest askers come back over TCP, and the rest is dropped.
	// 0 means DefaultResponseRate, a negative number no limit.
	ResponseRate int
	// Logger receives what goes wrong. nil logs nothing.
	Logger *zap.Logger
	// Registerer receives the metrics. nil registers nothing.
	Registerer prometheus.Registerer
}

// A Server answers DNS questions from a Zone, with authority and nothing else: no recursion, no transfers, no updates.
// All methods may be called concurrently.
type Server struct {
	log     *zap.Logger
	udp     *net.UDPConn
	tcp     net.Listener
	limiter *limiter // nil: no limit
	metrics *serverMetrics
	zone    atomic.Pointer[Zone] // nil until SetZone

	mu      sync.Mutex
	running bool
	closing chan struct{} // closed by Close
	ended   chan struct{} // closed when Run has ended, or never will begin
}

// NewServer binds the sockets and registers the metrics. The server answers once it runs, and must be ended by Close or by Run's context.
func NewServer(cfg ServerConfig) (*Server, error) {
	s := &Server{log: cfg.Logger, closing: make(chan struct{}), ended: make(chan struct{})}
	if s.log == nil {
		s.log = zap.NewNop()
	}
	switch {
	case cfg.ResponseRate == 0:
		s.limiter = newLimiter(DefaultResponseRate)
	case cfg.ResponseRate > 0:
		s.limiter = newLimiter(cfg.ResponseRate)
	}
	udp, tcp, err := listen(cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("gslb server: %w", err)
	}
	s.metrics = newServerMetrics(s)
	if err := s.metrics.register(cfg.Registerer); err != nil {
		return nil, errors.Join(fmt.Errorf("gslb server: %w", err), udp.Close(), tcp.Close())
	}
	s.udp = udp
	s.tcp = &boundedListener{Listener: tcp, refused: s.metrics.refused, open: map[netip.Addr]int{}}
	return s, nil
}

// Addr returns the bound address, which is the same for UDP and TCP.
func (s *Server) Addr() netip.AddrPort {
	bound := s.udp.LocalAddr().(*net.UDPAddr).AddrPort()
	return netip.AddrPortFrom(bound.Addr().Unmap(), bound.Port())
}

// SetZone makes z what is answered from. Each answer comes from one zone wholly. Before the first call, and with nil, every question that
// is not refused for its form is answered with SERVFAIL, so that resolvers keep what they have.
func (s *Server) SetZone(z *Zone) { s.zone.Store(z) }

// Run serves until ctx ends or Close is called, and returns nil then; it returns an error if a socket fails. It waits for everything it
// started, and closes the sockets. It can run once.
func (s *Server) Run(ctx context.Context) error {
	s.mu.Lock()
	if s.running {
		s.mu.Unlock()
		return errors.New("gslb server: Run was called twice, or after Close; make a new server instead")
	}
	s.running = true
	s.mu.Unlock()
	defer close(s.ended)

	servers := []*dns.Server{{PacketConn: s.udp}, {Listener: s.tcp}}
	results := make(chan error, len(servers))
	started := make(chan struct{}, len(servers))
	for _, d := range servers {
		d.Handler = dns.HandlerFunc(s.handle)
		d.UDPSize = udpSize
		d.ReadTimeout = tcpReadTimeout
		d.IdleTimeout = func() time.Duration { return tcpIdleTimeout }
		d.MaxTCPQueries = maxTCPQueries
		d.MsgAcceptFunc = s.accept
		d.MsgInvalidFunc = func([]byte, error) { s.metrics.malformed.Inc() }
		d.NotifyStartedFunc = func() { started <- struct{}{} }
		go func() { results <- d.ActivateAndServe() }()
	}
	var failed error
	ends := 0
	for waiting := len(servers); waiting > 0 && ends == 0; { // one that has not started cannot be shut down
		select {
		case <-started:
			waiting--
		case failed = <-results:
			ends++
		}
	}
	if ends == 0 {
		s.log.Info("answering DNS", zap.Stringer("addr", s.Addr()))
		select {
		case <-ctx.Done():
		case <-s.closing:
		case failed = <-results:
			ends++
		}
	}
	stopServers(servers)
	for ; ends < len(servers); ends++ {
		failed = errors.Join(failed, <-results)
	}
	if failed != nil {
		return fmt.Errorf("gslb server: %w", failed)
	}
	return nil
}

// stopServers ends servers, those that have ended by themselves included.
func stopServers(servers []*dns.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	for _, d := range servers {
		// The error is that it has ended already, or that a handler is slow; results tell of both.
		_ = d.ShutdownContext(ctx)
		if d.Listener != nil {
			_ = d.Listener.Close() // closed already, as a rule
		}
		if d.PacketConn != nil {
			_ = d.PacketConn.Close()
		}
	}
}

// Close ends Run and waits for it, or releases the sockets if it never ran. Further calls do nothing but wait.
func (s *Server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.closing:
	default:
		close(s.closing)
	}
	if s.running {
		<-s.ended
		return nil
	}
	s.running = true // a later Run must not begin
	close(s.ended)
	return errors.Join(s.udp.Close(), s.tcp.Close())
}

// accept looks at the header of a query. What it rejects is answered with the bare header, which is no use to flood anybody.
func (s *Server) accept(h dns.Header) dns.MsgAcceptAction {
	action := dns.DefaultMsgAcceptFunc(h)
	switch action {
	case dns.MsgReject:
		s.metrics.queries.WithLabelValues("unknown", "other", "FORMERR").Inc()
	case dns.MsgRejectNotImplemented:
		s.metrics.queries.WithLabelValues("unknown", "other", "NOTIMP").Inc()
	case dns.MsgAccept, dns.MsgIgnore:
	}
	return action
}

// handle answers one query: the whole life of it.
func (s *Server) handle(w dns.ResponseWriter, q *dns.Msg) {
	source := addrOf(w.RemoteAddr())
	_, overUDP := w.RemoteAddr().(*net.UDPAddr)
	outcome := pass
	if overUDP {
		outcome = s.limiter.admit(source)
	}
	if outcome == drop {
		s.metrics.limited.WithLabelValues("dropped").Inc()
		return
	}
	m := s.zone.Load().respond(q, source)
	if outcome == slip {
		s.metrics.limited.WithLabelValues("truncated").Inc()
		empty(m)
	}
	if overUDP {
		fit(m, q)
	}
	s.metrics.answered(overUDP, q, m)
	if err := w.WriteMsg(m); err != nil {
		s.log.Debug("answer not sent", zap.Stringer("source", source), zap.Error(err))
	}
}
