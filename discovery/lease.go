package discovery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// AnnouncerConfig says what to announce. Client, Key and Value are required.
type AnnouncerConfig struct {
	// Client is used as it is and left open.
	Client *clientv3.Client
	// Contact, if set, ends a wait for etcd as soon as etcd has answered anybody
	// who shares it; Client is to be made with it.
	Contact *Contact
	// Key is the whole key, for example "/gridrouter/fleet/router-1".
	Key string
	// TTL is how long the key outlives a process that died; whole seconds,
	// rounded up. Default 10 s, at least 2 s.
	TTL time.Duration
	// Value gives what to write. It is called every Every, from one goroutine.
	Value func() []byte
	// Every is how often Value is looked at; it is written only if it
	// differs. Default 2 s.
	Every time.Duration
	// Copied, if set, says of the value of a key that hangs on no lease whether it
	// is a word of this process that somebody copied, as with all keys into a new
	// cluster: such a key would never go, and is taken over.
	Copied func(value []byte) bool
	// Logger may be nil: then nothing is logged.
	Logger *zap.Logger
	// Registerer may be nil: then nothing is measured.
	Registerer prometheus.Registerer
}

// Announcer keeps one key in etcd for as long as Run runs, and lets it go with
// the process: the key hangs on a lease. It never overwrites a key that
// somebody else holds; it waits until that one's lease has ended. What hangs
// on no lease it takes over only if it is a copy: see AnnouncerConfig.
type Announcer struct {
	cfg    AnnouncerConfig
	log    *zap.Logger
	taken  prometheus.Counter
	held   prometheus.Gauge
	failed prometheus.Counter

	// What follows belongs to the goroutine that runs Run.
	retry   pacing
	refused bool               // the key is somebody else's, and the log knows
	written []byte             // what the key holds; nil: not ours yet
	created int64              // create revision of our key
	granted []clientv3.LeaseID // the last leases of ours: the key may still hang on any of them
}

const (
	defaultTTL    = 10 * time.Second
	shortestTTL   = 2 * time.Second
	defaultEvery  = 2 * time.Second
	leaseTimeout  = 5 * time.Second // of one call
	revokeTimeout = 2 * time.Second
	mostGranted   = 16 // leases that are remembered; each ends by itself
)

var (
	errLeaseLost = errors.New("the lease ended: etcd was out of reach for longer than its time to live, or it was revoked")
	errKeyLost   = errors.New("the key was deleted or overwritten by somebody else")
)

// NewAnnouncer makes an announcer. It makes no contact; a fault in cfg is told
// by Run.
func NewAnnouncer(cfg AnnouncerConfig) *Announcer {
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	if cfg.TTL <= 0 {
		cfg.TTL = defaultTTL
	}
	cfg.TTL = max(cfg.TTL, shortestTTL)
	if cfg.Every <= 0 {
		cfg.Every = defaultEvery
	}
	a := &Announcer{
		cfg: cfg,
		log: cfg.Logger.With(zap.String("key", cfg.Key)),
		taken: prometheus.NewCounter(prometheus.CounterOpts{Name: "gridrouter_discovery_announce_taken_total",
			Help: "Attempts to announce this process that found its key held by another one."}),
		held: prometheus.NewGauge(prometheus.GaugeOpts{Name: "gridrouter_discovery_announced",
			Help: "1 while the key that announces this process is in etcd, else 0."}),
		failed: prometheus.NewCounter(prometheus.CounterOpts{Name: "gridrouter_discovery_announce_failures_total",
			Help: "Leases lost or not had; each is followed by an attempt to get a new one."}),
	}
	if cfg.Registerer != nil {
		cfg.Registerer.MustRegister(a.taken, a.held, a.failed)
	}
	return a
}

// Run announces until ctx ends, then takes the key back (for at most 2 s) and
// returns ctx's error. Any other error is permanent: the configuration is
// wrong. An absent etcd is waited for. One Run at a time.
func (a *Announcer) Run(ctx context.Context) error {
	if a.cfg.Client == nil || a.cfg.Key == "" || a.cfg.Value == nil {
		return errors.New("announcer without a client, a key or a value: give all three")
	}
	a.retry.contact, a.retry.connect = a.cfg.Contact, func(ctx context.Context) { awaitConnection(ctx, a.cfg.Client) }
	a.retry.reset()
	for a.retry.wait(ctx) {
		err := a.holdLease(ctx)
		a.held.Set(0)
		if ctx.Err() == nil {
			a.failed.Inc()
			a.log.Warn("announcing this process broke off, trying again", zap.String("cause", plain(err)))
		}
	}
	return ctx.Err()
}

// holdLease lives through one lease. It always returns an error. A lease that
// was lost is not given back: that would take the key away, which the next lease
// takes over, and would wait for an etcd that is away.
func (a *Announcer) holdLease(ctx context.Context) error {
	// A keeper of its own: once its stream has failed for good, etcd's client
	// keeps no lease alive any more.
	keeper := clientv3.NewLease(a.cfg.Client)
	defer func() { _ = keeper.Close() }() // it only stops its goroutines
	id, err := a.grant(ctx, keeper)
	if err != nil {
		return fmt.Errorf("get a lease: %w", err)
	}
	a.remember(id)
	defer func() {
		if ctx.Err() != nil {
			a.revoke(ctx, keeper, id)
		}
	}()
	alive, err := keeper.KeepAlive(ctx, id)
	if err != nil {
		return fmt.Errorf("keep the lease: %w", err)
	}
	a.written, a.created = nil, 0
	look := time.NewTicker(a.cfg.Every)
	defer look.Stop()
	for {
		if err := a.write(ctx, id); err != nil {
			return err
		}
		if err := stayAlive(ctx, alive, look.C); err != nil {
			return err
		}
	}
}

// stayAlive waits for the next look at the value, or for the lease's end.
func stayAlive(ctx context.Context, alive <-chan *clientv3.LeaseKeepAliveResponse, look <-chan time.Time) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case _, open := <-alive:
			if !open {
				return errLeaseLost
			}
		case <-look:
			return nil
		}
	}
}

// write brings the key up to date, if it can be ours.
func (a *Announcer) write(ctx context.Context, id clientv3.LeaseID) error {
	value := a.cfg.Value()
	if a.written != nil && bytes.Equal(a.written, value) {
		return nil
	}
	holder, err := a.put(ctx, id, value)
	if err == nil && holder != nil && a.written == nil && a.isOurs(holder) {
		// Our own, from before etcd went away: move it to the new lease.
		a.created = holder.CreateRevision
		holder, err = a.put(ctx, id, value)
	}
	switch {
	case err != nil:
		return fmt.Errorf("write the key: %w", err)
	case holder == nil:
	case a.written != nil:
		return errKeyLost
	default:
		a.created = 0
		a.refuse()
	}
	return nil
}

// put writes the key if it is as we left it; created is 0 until it is ours,
// and 0 is how etcd compares a key that is not there, so that one transaction
// serves the claim and the rewriting. Where somebody else's key is in the way
// it returns that one, whole: without its value etcd leaves out its lease.
func (a *Announcer) put(ctx context.Context, id clientv3.LeaseID, value []byte) (*mvccpb.KeyValue, error) {
	ctx, cancel := context.WithTimeout(ctx, leaseTimeout)
	defer cancel()
	answer, err := a.cfg.Client.Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision(a.cfg.Key), "=", a.created)).
		Then(clientv3.OpPut(a.cfg.Key, string(value), clientv3.WithLease(id))).
		Else(clientv3.OpGet(a.cfg.Key)).
		Commit()
	switch {
	case err != nil:
		return nil, err
	case answer.Succeeded:
		a.wrote(value, answer.Header.Revision)
		return nil, nil
	}
	if kvs := answer.Responses[0].GetResponseRange().Kvs; len(kvs) > 0 {
		return kvs[0], nil
	}
	return &mvccpb.KeyValue{}, nil // deleted under our hands
}

// remember notes a lease as ours. Which of the last ones the key hangs on is not
// sure: etcd may have taken what it did not live to acknowledge.
func (a *Announcer) remember(id clientv3.LeaseID) {
	a.granted = append(a.granted, id)
	a.granted = a.granted[max(0, len(a.granted)-mostGranted):]
}

func (a *Announcer) isOurs(holder *mvccpb.KeyValue) bool {
	if holder.Lease == 0 && holder.ModRevision != 0 && a.cfg.Copied != nil && a.cfg.Copied(holder.Value) {
		a.log.Warn("the key is a copy of an earlier one, as after a restore, and hangs on no lease: taking it over")
		return true
	}
	return slices.Contains(a.granted, clientv3.LeaseID(holder.Lease))
}

func (a *Announcer) wrote(value []byte, revision int64) {
	if a.created == 0 {
		a.created = revision
		a.log.Info("announced this process", zap.Bool("afterWaiting", a.refused))
	}
	a.written = bytes.Clone(value)
	if a.written == nil {
		a.written = []byte{}
	}
	a.refused = false
	a.held.Set(1)
	a.retry.reset()
}

// refuse notes that somebody else holds the key. The next look tries again.
func (a *Announcer) refuse() {
	a.taken.Inc()
	if !a.refused {
		a.refused = true
		a.log.Warn("another process announces itself under this name, or a former run of this one whose lease still lives: " +
			"waiting for it to go; if it is another process, give each its own --router-id, or GSLB servers their own --server-id")
	}
}

func (a *Announcer) grant(ctx context.Context, keeper clientv3.Lease) (clientv3.LeaseID, error) {
	ctx, cancel := context.WithTimeout(ctx, leaseTimeout)
	defer cancel()
	seconds := (a.cfg.TTL + time.Second - 1) / time.Second
	answer, err := keeper.Grant(ctx, int64(seconds))
	if err != nil {
		return clientv3.NoLease, err
	}
	return answer.ID, nil
}

// revoke gives the lease back, and the key with it, also when ctx has ended.
func (a *Announcer) revoke(ctx context.Context, keeper clientv3.Lease, id clientv3.LeaseID) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), revokeTimeout)
	defer cancel()
	if _, err := keeper.Revoke(ctx, id); err != nil {
		a.log.Info("the lease could not be given back: it ends by itself",
			zap.Duration("within", a.cfg.TTL), zap.String("cause", plain(err)))
	}
}
