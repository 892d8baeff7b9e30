package discovery

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc/connectivity"
)

// EtcdConfig says what to follow. One of Client and Dial is required, and Root.
type EtcdConfig struct {
	// Client is used as it is and left open.
	Client *clientv3.Client
	// Dial, if set, is used in place of Client: the source makes a client of
	// its own, makes a new one after etcd refused who we are, and closes it
	// when Follow ends.
	Dial func() (*clientv3.Client, error)
	// Contact, if set, ends a wait for etcd as soon as etcd has answered anybody
	// who shares it; the clients are to be made with it. While the source waits,
	// it asks now and then on behalf of all.
	Contact *Contact
	// Root is the prefix of all keys, for example "/gridrouter/docs/". A
	// missing slash at its end is added.
	Root string
	// Marks is a second prefix that is followed with Root, or empty. It lies
	// after Root and outside of it, for example "/gridrouter/guard/"; a missing
	// slash at its end is added. One list and one watch cover all keys from
	// Root to the end of Marks, so that a transaction over both prefixes is one
	// batch. The keys between the two are dropped on arrival. The user must be
	// allowed to read the whole range.
	Marks string
	// PageSize is how many entries one page of a list asks for. 0 takes the
	// list in one stream from servers that can (etcd 3.7), else in pages of
	// 5,000: older servers count what is left again for each page, so few
	// large pages are better than many small ones.
	PageSize int
	// CallTimeout bounds every single call, and the wait for the next piece of
	// a streamed list. Default 5 s.
	CallTimeout time.Duration
	// ProgressEvery is how often the watch stream is asked to prove that we
	// are up to date. Default 2 s. After three of them without a sign of life
	// Status is not Connected.
	ProgressEvery time.Duration
	// AuditEvery is how often everything is listed beside the watch and
	// delivered as a Whole batch with Audit set, so that whatever a stream lost
	// is repaired. Each wait is drawn anew, between half and one and a half
	// times this. Default 20 min.
	AuditEvery time.Duration
	// Logger may be nil: then nothing is logged.
	Logger *zap.Logger
	// Registerer may be nil: then nothing is measured. It takes one etcd
	// source; wrap it with a label for a second one.
	Registerer prometheus.Registerer
}

// Etcd is a Source that follows a prefix in etcd. Make one with NewEtcd.
type Etcd struct {
	cfg     EtcdConfig
	log     *zap.Logger
	track   *tracker
	metrics *metrics

	mu     sync.Mutex       // guards client alone: Status reads it too
	client *clientv3.Client // the one in use; nil before the first round

	// The rest belongs to the goroutine that runs Follow.
	retry     pacing
	listFor   string      // why a whole list is due; empty: the watch goes on from cursor
	rewound   bool        // the cluster is the one of the cursor, with another history
	noStream  atomic.Bool // this server has no streamed lists; an audit finds out too
	clusterID uint64      // of the cluster that the cursor belongs to
	cursor    int64       // the receiver has everything up to this revision
	keys      int64       // how many keys there are under the root at the cursor
	latest    latest      // up to the cursor
	auditDue  time.Time
	took      time.Duration // the receiver, for the last batch of changes

	// What the goroutines beside the watch look at.
	position atomic.Pointer[position]
	applying atomic.Bool  // the receiver is at work: nobody can tell how the stream does
	givenUp  atomic.Int32 // streams in a row that were given up
}

// position is how far the receiver has been brought.
type position struct {
	revision int64
	keys     int64 // under the root, at that revision
	latest   latest
}

const (
	defaultCallTimeout   = 5 * time.Second
	defaultProgressEvery = 2 * time.Second
	defaultAuditEvery    = 20 * time.Minute
	defaultPageSize      = 5000
)

// NewEtcd makes a source that follows cfg.Root. It makes no contact with etcd;
// a fault in cfg is told by Follow.
func NewEtcd(cfg EtcdConfig) *Etcd {
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	if cfg.CallTimeout <= 0 {
		cfg.CallTimeout = defaultCallTimeout
	}
	if cfg.ProgressEvery <= 0 {
		cfg.ProgressEvery = defaultProgressEvery
	}
	if cfg.AuditEvery <= 0 {
		cfg.AuditEvery = defaultAuditEvery
	}
	cfg.Root, cfg.Marks = withSlash(cfg.Root), withSlash(cfg.Marks)
	e := &Etcd{cfg: cfg, log: cfg.Logger, track: newTracker(kindEtcd, "prefix "+cfg.Root)}
	e.metrics = newMetrics(kindEtcd, cfg.Registerer, e.Status)
	e.retry = pacing{contact: cfg.Contact, connect: e.connect, probe: e.ask, probeEvery: cfg.ProgressEvery}
	return e
}

// Follow implements Source.
func (e *Etcd) Follow(ctx context.Context, apply func(Batch)) error {
	if err := e.cfg.check(); err != nil {
		return err
	}
	if err := e.track.begin(); err != nil {
		return err
	}
	defer e.track.end()
	defer e.releaseClient()
	e.listFor = becauseStart
	e.retry.reset()
	for e.retry.wait(ctx) {
		if err := e.round(ctx, apply); ctx.Err() == nil {
			e.broken(err)
		}
	}
	return ctx.Err()
}

// check tells the faults of a configuration that no repetition mends.
func (cfg *EtcdConfig) check() error {
	switch {
	case cfg.Client == nil && cfg.Dial == nil:
		return errors.New("etcd source without a client: give Client or Dial")
	case cfg.Root == "":
		return errors.New("etcd source without a root: give the prefix to follow, such as /gridrouter/docs/")
	case cfg.Marks != "" && (cfg.Marks < cfg.Root || strings.HasPrefix(cfg.Marks, cfg.Root)):
		return fmt.Errorf("etcd source whose marks %s do not lie behind its root %s", cfg.Marks, cfg.Root)
	}
	return nil
}

func withSlash(prefix string) string {
	if prefix != "" && !strings.HasSuffix(prefix, "/") {
		prefix += "/"
	}
	return prefix
}

// round is one attempt: list if need be, then watch until the watch breaks. It
// always returns an error.
func (e *Etcd) round(ctx context.Context, apply func(Batch)) error {
	client, err := e.dial()
	if err != nil {
		return fmt.Errorf("make an etcd client: %w", err)
	}
	if e.listFor != "" {
		if err := e.list(ctx, client, apply); err != nil {
			return err
		}
	} else if err := e.sameHistory(ctx, client, e.position.Load()); err != nil {
		return err
	}
	return e.watch(ctx, client, apply)
}

// broken takes note of what ended a round, and so decides what the next one
// does: it goes on watching from the cursor, unless that cannot work.
func (e *Etcd) broken(err error) {
	why := e.explain(err)
	e.track.failed(why)
	e.metrics.failures.Inc()
	switch {
	case errors.Is(err, rpctypes.ErrCompacted):
		e.listFor = becauseCompacted
		e.log.Info("etcd no longer has the changes that we missed: listing everything again",
			zap.String("root", e.cfg.Root), zap.Int64("revision", e.cursor))
		return
	case errors.Is(err, errSourceChanged):
		e.listFor = becauseSource
		e.rewound = e.rewound || errors.Is(err, errRewound)
	case errors.Is(err, errOutOfOrder):
		e.listFor = becauseOrder
	case errors.Is(err, errMissing):
		e.listFor = becauseMissing
	case errors.Is(err, errStreamSilent), errors.Is(err, errStreamBehind), errors.Is(err, errUnreachable):
		e.giveUp(err)
	case isAuthError(err):
		e.releaseClient()
	}
	e.log.Warn("following etcd broke off: what was received stays in force, trying again",
		zap.String("root", e.cfg.Root), zap.Int64("revision", e.cursor), zap.String("cause", why))
}

// giveUp takes note of a stream that we closed ourselves. One new stream may
// end up where the old one was; after the second the client is made anew, with
// new connections, as it is at once when nothing at all answered.
func (e *Etcd) giveUp(err error) {
	reason, rounds := streamSilent, e.givenUp.Add(1)
	switch {
	case errors.Is(err, errStreamBehind):
		reason = streamBehind
	case errors.Is(err, errUnreachable):
		reason, rounds = streamUnreachable, roundsPerClient
	}
	e.metrics.givenUp.WithLabelValues(reason).Inc()
	if rounds >= roundsPerClient {
		e.releaseClient()
	}
}

// dial gives the client in use, making one where there is none.
func (e *Etcd) dial() (*clientv3.Client, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.client != nil {
		return e.client, nil
	}
	client := e.cfg.Client
	if e.cfg.Dial != nil {
		var err error
		if client, err = e.cfg.Dial(); err != nil {
			return nil, err
		}
		e.metrics.clients.Inc()
	}
	e.client = client
	e.track.describe(fmt.Sprintf("prefix %s in etcd at %s", e.cfg.Root, strings.Join(client.Endpoints(), ", ")))
	return client, nil
}

// connect waits until the client in use has a connection, or ctx ends. Without a
// client there is nothing to wait for: the next one's first call waits by itself.
func (e *Etcd) connect(ctx context.Context) {
	if client := e.inUse(); client != nil {
		awaitConnection(ctx, client)
	}
}

// ask asks an etcd that is away for a sign of life, where there is a connection:
// one that comes about is such a sign already. A member that has no leader gives
// none.
func (e *Etcd) ask(ctx context.Context) {
	if client := e.inUse(); client != nil && client.ActiveConnection().GetState() == connectivity.Ready {
		ctx, cancel := context.WithTimeout(ctx, e.cfg.CallTimeout)
		defer cancel()
		_, _ = client.Get(ctx, e.cfg.Root, clientv3.WithCountOnly()) // the contact hears of it
	}
}

// inUse gives the client in use, or nil.
func (e *Etcd) inUse() *clientv3.Client {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.client
}

// releaseClient lets go of the client, and closes it if it is our own.
func (e *Etcd) releaseClient() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.client != nil && e.cfg.Dial != nil {
		_ = e.client.Close() // it reports its own context's end, nothing else
	}
	e.client = nil
}

// Status implements Source. A lost connection shows at once, a silent one
// after three progress intervals.
func (e *Etcd) Status() Status {
	status := e.track.read()
	if !status.Connected {
		return status
	}
	if age := status.Age; age > e.silence() {
		status.Connected = false
		status.LastError = fmt.Sprintf("no word from etcd for %s: what was received stays in force; is etcd reachable?", age.Round(time.Millisecond))
	} else if e.disconnected() {
		status.Connected = false
		status.LastError = "the connection to etcd is lost: what was received stays in force; is etcd running?"
	}
	return status
}

// disconnected says whether not one connection to etcd stands.
func (e *Etcd) disconnected() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.client == nil {
		return true
	}
	state := e.client.ActiveConnection().GetState()
	return state == connectivity.TransientFailure || state == connectivity.Connecting
}

// around draws a wait between half and one and a half times period.
func around(period time.Duration) time.Duration { return period/2 + rand.N(period+1) }

// jittered spreads a period by a tenth, so that a fleet's timers drift apart.
func jittered(period time.Duration) time.Duration {
	return period - period/20 + rand.N(period/10+1)
}
