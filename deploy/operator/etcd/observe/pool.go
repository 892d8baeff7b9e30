package observe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/keepalive"

	"gridrouter.io/deploy/operator/etcd/pki"
)

// How often clusters are asked, and for how long an answer is waited for.
const (
	Rest        = 10 * time.Second       // a cluster at rest
	Hurry       = 500 * time.Millisecond // one in which something is going on
	askFor      = 2 * time.Second
	figuresRest = 30 * time.Second // how often figures alone are told
)

// Bounds of what is taken from a member, whose image whoever asks for a cluster chooses.
const (
	mostBytes      = 1 << 20 // of one answer; a list of seven members has less than two kilobytes
	mostMembers    = 64
	mostAlarms     = 4
	mostComplaints = 4
	mostText       = 64 // of a version
	mostComplaint  = 512
)

// Target is how the members of a cluster are reached.
type Target struct {
	// Endpoints are the members' client URLs, by name.
	Endpoints map[string]string
	// TLS is how they are known, by RootCAs and ServerName, which all of them bear; nil: not at all. Secret names the certificates in it: another name, another TLS.
	TLS    *tls.Config
	Secret string
	// ClusterID is the id of the cluster in hexadecimal digits: what others say of their members is not taken. Empty: it is
	// not known yet.
	ClusterID string
	// Username and Password log in; empty: nobody does.
	Username, Password string
}

// Pool asks clusters. Its methods may be called at once.
type Pool struct {
	log *zap.Logger
	ctx context.Context //nolint:containedctx // it ends all that the pool does
	end context.CancelFunc

	mu       sync.Mutex
	clusters map[string]*cluster
	running  sync.WaitGroup
}

// NewPool returns a pool that asks nobody yet. Close ends it.
func NewPool(log *zap.Logger) *Pool {
	ctx, end := context.WithCancel(context.Background())
	return &Pool{log: log, ctx: ctx, end: end, clusters: map[string]*cluster{}}
}

// Close ends all asking and waits for it.
func (p *Pool) Close() {
	p.end()
	p.running.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, c := range p.clusters {
		c.close()
		delete(p.clusters, id)
	}
}

// cluster is one that is asked.
type cluster struct {
	mu      sync.Mutex
	target  Target
	clients map[string]*clientv3.Client
	report  Report
	known   bool
	every   time.Duration
	changed func()
	told    time.Time
	issuers map[string]string // by member: of the certificate that it showed last

	wake chan struct{}
	stop context.CancelFunc
}

// Follow has a cluster asked every so often from now on, and changed called when it is not as it was; or changes how
// that is done. changed must return at once.
func (p *Pool) Follow(id string, target Target, every time.Duration, changed func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() != nil {
		return
	}
	c := p.clusters[id]
	if c == nil {
		ctx, stop := context.WithCancel(p.ctx)
		c = &cluster{
			target: target, every: every, changed: changed, clients: map[string]*clientv3.Client{}, issuers: map[string]string{},
			wake: make(chan struct{}, 1), stop: stop,
		}
		p.clusters[id] = c
		p.running.Go(func() { c.run(ctx) })
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	sooner := every < c.every || len(target.Endpoints) != len(c.target.Endpoints)
	for name, url := range target.Endpoints {
		sooner = sooner || c.target.Endpoints[name] != url
	}
	for name, client := range c.clients {
		if target.Endpoints[name] != c.target.Endpoints[name] || target.Secret != c.target.Secret || target.Username != c.target.Username || target.Password != c.target.Password {
			delete(c.clients, name)
			go func() { _ = client.Close() }() // it may wait for a member that does not answer
		}
	}
	c.target, c.every, c.changed = target, every, changed
	if sooner {
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
}

// Ask has a cluster asked at once.
func (p *Pool) Ask(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.clusters[id]; c != nil {
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
}

// Redial has the members of a cluster be connected to anew, which shows the certificates that they have now.
func (p *Pool) Redial(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.clusters[id]; c != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		for name, client := range c.clients {
			delete(c.clients, name)
			go func() { _ = client.Close() }()
		}
	}
}

// Forget ends the asking of a cluster.
func (p *Pool) Forget(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.clusters[id]; c != nil {
		c.stop()
		c.close()
		delete(p.clusters, id)
	}
}

// AskNow asks a cluster at once and waits for its report; false: it is not followed, or ctx ended before.
func (p *Pool) AskNow(ctx context.Context, id string) (Report, bool) {
	p.mu.Lock()
	c := p.clusters[id]
	p.mu.Unlock()
	if c == nil {
		return Report{}, false
	}
	report := c.ask(ctx)
	if ctx.Err() != nil {
		return Report{}, false
	}
	c.note(report)
	return report, true
}

// Report returns what was found out last; false: nothing yet.
func (p *Pool) Report(id string) (Report, bool) {
	p.mu.Lock()
	c := p.clusters[id]
	p.mu.Unlock()
	if c == nil {
		return Report{}, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.report, c.known
}

// Target returns how the members of a cluster are reached, as it was told last; false: it is not followed.
func (p *Pool) Target(id string) (Target, bool) {
	p.mu.Lock()
	c := p.clusters[id]
	p.mu.Unlock()
	if c == nil {
		return Target{}, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	target := c.target
	target.Endpoints = maps.Clone(target.Endpoints)
	return target, true
}

// ErrNoMember says that a cluster or a member of that name is not asked.
var ErrNoMember = errors.New("no such member is known")

// Client returns the client of one member. It is the pool's: it must not be closed, and is closed once the member or its
// address is another.
func (p *Pool) Client(id, member string) (*clientv3.Client, error) {
	p.mu.Lock()
	c := p.clusters[id]
	p.mu.Unlock()
	if c == nil {
		return nil, ErrNoMember
	}
	return c.client(member)
}

func (c *cluster) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, client := range c.clients {
		go func() { _ = client.Close() }()
		delete(c.clients, name)
	}
	c.target.Endpoints = nil
}

func (c *cluster) client(name string) (*clientv3.Client, error) {
	client, _, err := c.clientAt(name)
	return client, err
}

// clientAt returns the client of a member, and where that is.
func (c *cluster) clientAt(name string) (*clientv3.Client, string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	url := c.target.Endpoints[name]
	if url == "" {
		return nil, url, ErrNoMember
	}
	if client := c.clients[name]; client != nil {
		return client, url, nil
	}
	secured := Verifying(c.target.TLS, func(shown *x509.Certificate) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.issuers[name] = pki.IssuerID(shown)
	})
	client, err := clientv3.New(clientv3.Config{
		Endpoints: []string{url}, TLS: secured, Username: c.target.Username, Password: c.target.Password,
		DialTimeout: askFor, DialKeepAliveTime: 10 * time.Second, DialKeepAliveTimeout: 3 * time.Second, PermitWithoutStream: true,
		MaxUnaryRetries: 1, Logger: zap.NewNop(), MaxCallSendMsgSize: mostBytes / 2, MaxCallRecvMsgSize: mostBytes,
		DialOptions: []grpc.DialOption{
			grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.5, MaxDelay: 2 * time.Second}, MinConnectTimeout: askFor}),
			grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 3 * time.Second, PermitWithoutStream: true}),
		},
	})
	if err != nil {
		return nil, url, fmt.Errorf("%s: %w", url, err)
	}
	c.clients[name] = client
	return client, url, nil
}

// run asks until ctx ends.
func (c *cluster) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-c.wake:
		}
		report := c.ask(ctx)
		if ctx.Err() != nil {
			return
		}
		timer.Reset(c.note(report))
	}
}

// note keeps a report, tells of it if it is news, and says when to ask again.
func (c *cluster) note(report Report) time.Duration {
	c.mu.Lock()
	if c.known && report.began.Before(c.report.began) { // both ask at once, and the older question was answered last
		defer c.mu.Unlock()
		return c.every
	}
	news := !c.known || c.report.digest() != report.digest()
	if !news && c.report.figures() != report.figures() && report.At.Sub(c.told) >= figuresRest {
		news = true
	}
	c.report, c.known = report, true
	if news {
		c.told = report.At
	}
	changed, every := c.changed, c.every
	c.mu.Unlock()
	if news {
		changed()
	}
	return every
}
