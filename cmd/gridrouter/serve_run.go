package main

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"gridrouter.io/cmd/flags"
	"gridrouter.io/discovery"
	"gridrouter.io/discovery/catalog"
	"gridrouter.io/gslb"
	"gridrouter.io/router"
	"gridrouter.io/router/accesslog"
	"gridrouter.io/router/certs"
	"gridrouter.io/routing"
	"gridrouter.io/routing/compile"
	"gridrouter.io/routing/document"
)

// service is a running "gridrouter serve".
type service struct {
	flags    *serveFlags
	id       string
	log      *zap.Logger
	level    zap.AtomicLevel
	reread   func(context.Context) (string, error)
	registry *prometheus.Registry
	started  time.Time

	source    discovery.Source
	documents *documents
	mesh      *gslb.Resolver
	names     *gslb.Resolver
	access    *accesslog.Log // nil: off
	pins      *pinCache      // nil: the source is a folder, whose pins are all held
	snapshots *snapshots
	resolved  *addresses
	certs     *certs.Store // nil: nobody listens for TLS
	router    *router.Router

	addresses listening
	drain     chan struct{} // somebody asked to drain
}

// serve runs a router until it has drained, or cannot go on.
func serve(ctx context.Context, f *serveFlags, reread func(context.Context) (string, error)) error {
	ignoreBrokenPipes()
	told := watchSignals("gridrouter")
	defer told.end()
	s, err := newService(f, reread, told)
	if err != nil {
		return err
	}
	inFlight := s.router.InFlight
	told.inFlight.Store(&inFlight)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	if err = s.open(ctx, group); err != nil {
		cancel()
		err = errors.Join(err, group.Wait())
		s.close()
		return err
	}
	told.running.Store(true) // before it is said: a signal from now on drains
	s.follow(ctx, group)
	group.Go(func() error {
		defer cancel()
		return s.untilDrained(ctx, told)
	})
	err = group.Wait()
	s.close()
	s.log.Info("the router ended", zap.Error(err))
	return err
}

// newService makes everything, and opens nothing but the access log.
func newService(f *serveFlags, reread func(context.Context) (string, error), told *signals) (s *service, err error) {
	s = &service{flags: f, reread: reread, registry: prometheus.NewRegistry(), started: time.Now(), drain: make(chan struct{}, 1)}
	if s.id, err = f.id(); err != nil {
		return nil, err
	}
	if s.log, s.level, err = newLogger(f.logLevel); err != nil {
		return nil, err
	}
	told.log.Store(s.log)
	s.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), newBuildInfo())
	reader := catalog.NewReader()
	_, unsaved := os.Stat(snapshotPath(f.snapshot, s.id))
	f.source.mayBeAway = f.snapshot != snapshotOff && unsaved == nil
	if s.source, err = f.source.open("", reader, withoutRepeats(s.log.Named("source")), s.registry); err != nil {
		return nil, err
	}
	if s.mesh, err = s.resolver("gslb", f.gslb); err != nil {
		return nil, err
	}
	if s.names, err = s.resolver("resolver", f.resolver); err != nil {
		return nil, err
	}
	if s.access, err = s.accessLog(); err != nil {
		return nil, err
	}
	if f.tlsCert != "" {
		if s.certs, err = certs.Open(certs.Config{Folder: f.tlsCert, Logger: s.log.Named("certs")}); err != nil {
			return nil, flags.Usagef("--tls-cert: %w", err)
		}
		s.registry.MustRegister(s.certs.Collector())
	}
	config := router.Config{
		ID: s.id, TrustedProxies: f.proxies, GSLB: s.mesh, Names: s.names, AccessLog: s.access, Logger: s.log.Named("router"),
		ProxyProtocol: f.proxyProtocol == "on", HalfClose: f.halfCloseMeans(), MaxClients: f.clientConnections, MaxClientsPerAddress: f.connectionsPerAddress, ClientTimeouts: f.patience,
	}
	if f.source.etcd.Given() {
		if s.pins, err = openPins(&f.source, f.pinCache, reader, withoutRepeats(s.log.Named("pins")), s.registry); err != nil {
			return nil, err
		}
		config.Pins = s.pins
	}
	s.router, err = router.New(config)
	if err != nil {
		return nil, flags.Usagef("--router-id: %w", err)
	}
	s.registry.MustRegister(router.NewCollector(s.router))
	s.documents = &documents{
		rebuild: (*compile.Compiler).Rebuilt, compiler: s.newCompiler(reader), pins: s.pins, guard: newGuardWatch(s.log.Named("guard"), s.registry),
		publish: s.router.Publish, kind: s.source.Status().Kind, first: make(chan struct{}),
		log: s.log.Named("documents"), drift: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gridrouter_table_drift_total", Help: "Documents that only an audit put in force: their changes had not been told of.",
		}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gridrouter_table_update_failures_total", Help: "Updates that brought out a fault of gridrouter's own and are not in force; everything is listed anew after each.",
		}),
	}
	s.documents.guard.folder = s.flags.source.routes != ""
	s.registry.MustRegister(s.documents.drift, s.documents.panics)
	return s, s.openSnapshots(reader)
}

// openSnapshots puts the documents of the last snapshot in force, if there is one.
func (s *service) openSnapshots(reader *document.Reader) error {
	of, err := s.flags.source.snapshotOf()
	if err != nil {
		return flags.Usagef("--routes: %w", err)
	}
	path := snapshotPath(s.flags.snapshot, s.id)
	if err := checkSnapshotPath(path); err != nil {
		return err
	}
	s.snapshots = newSnapshots(&snapshots{
		path: path, of: of, who: "the router", by: s.id, format: compile.SnapshotFormat, log: s.log.Named("snapshot"),
	}, s.registry)
	s.resolved = newAddresses(path, of, s.log.Named("snapshot"), map[string]*gslb.Resolver{"gslb": s.mesh, "resolver": s.names})
	s.resolved.restore() // before the names of the first table are tracked
	var compiler *compile.Compiler
	var table *routing.Table
	var heldAfter int64
	if s.snapshots.restore(func(header discovery.SnapshotHeader, framed []discovery.SnapshotSection) (err error) {
		sections := make([]compile.Section, len(framed))
		for i, section := range framed {
			sections[i] = compile.Section(section)
		}
		compiler, heldAfter = s.newCompiler(reader), header.HeldAfter
		table, err = compiler.Restore(sections)
		return err
	}) {
		s.documents.restored(compiler, table, heldAfter)
	}
	return nil
}

// resolver makes one of the two resolvers. Its name is that of its flag.
func (s *service) resolver(flag string, servers []string) (*gslb.Resolver, error) {
	r, err := gslb.NewResolver(gslb.ResolverConfig{Name: flag, Servers: servers, TryTimeout: s.flags.dnsTimeout, Logger: s.log, Registerer: s.registry})
	if err != nil {
		return nil, flags.Usagef("--%s: %w", flag, err)
	}
	return r, nil
}

func (s *service) accessLog() (*accesslog.Log, error) {
	config := accesslog.Config{Lanes: router.AccessLogLanes, Rate: s.flags.accessLogSample, Logger: s.log.Named("accesslog")}
	switch s.flags.accessLog {
	case "off":
		return nil, nil
	case "stdout":
		config.Output = os.Stdout
	default:
		config.File = s.flags.accessLog
	}
	log, err := accesslog.Open(config)
	if err != nil {
		return nil, flags.Usagef("--access-log: %w; name a file that can be written", err)
	}
	return log, nil
}

// follow starts what goes on in the background: the documents, the names, and the word
// of this router in etcd.
func (s *service) follow(ctx context.Context, group *errgroup.Group) {
	group.Go(func() error { return s.mesh.Run(ctx) })
	group.Go(func() error { return s.names.Run(ctx) })
	group.Go(func() error { return s.followSource(ctx) })
	group.Go(func() error { return s.snapshots.run(ctx, s.checkpoint) })
	group.Go(func() error { return s.resolved.run(ctx) })
	group.Go(func() error {
		return watchSource(ctx, s.source, s.started, "this router is not ready until it answers, and keeps trying", s.log)
	})
	group.Go(func() error { return s.announce(ctx) })
	group.Go(func() error { return s.tellReadiness(ctx) })
	status := s.source.Status()
	s.log.Info("the router started", zap.String("id", s.id), zap.String("version", flags.BuildVersion(version)),
		zap.Strings("listen", s.addresses.data), zap.Strings("listenTLS", s.addresses.tls), zap.String("admin", s.addresses.admin), zap.String("health", s.addresses.health),
		zap.String("source", status.Kind), zap.String("at", status.Detail))
}

// relistPauses are how long the router waits between lists that it cannot put in force.
var relistPauses = []time.Duration{0, 5 * time.Second, 10 * time.Second, 20 * time.Second, 40 * time.Second, time.Minute}

// followSource follows the source, and begins anew where the documents want a whole list.
func (s *service) followSource(ctx context.Context) error {
	for failures := 0; ; failures++ {
		round, again := context.WithCancel(ctx)
		s.documents.relist = again
		err := s.source.Follow(round, func(batch discovery.Batch) {
			s.apply(batch)
			if round.Err() == nil {
				failures = 0
			}
		})
		wanted := round.Err() != nil
		again()
		if ctx.Err() != nil || !wanted {
			return unlessDone(ctx, err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(relistPauses[min(failures, len(relistPauses)-1)]):
		}
	}
}

// untilDrained acts on signals. It returns when the router has drained; a second signal to
// stop ends the process elsewhere (signals.go). POST /drain is no signal: who prepares a
// stop by it, and then sends SIGTERM, must not cut what is in flight.
func (s *service) untilDrained(ctx context.Context, told *signals) error {
	drained := make(chan struct{})
	draining := false
	begin := func(why string) {
		if draining {
			return
		}
		draining = true
		s.log.Info("draining begins", zap.String("because", why))
		s.router.BeginDrain()
		go func() {
			defer close(drained)
			if cut := s.router.Drain(ctx, s.flags.drainDelay, s.flags.drainWait); cut > 0 {
				s.log.Warn("requests took longer than --drain-timeout and are cut", zap.Int64("requests", cut))
			}
		}()
	}
	for {
		select {
		case <-ctx.Done():
			if draining {
				<-drained // it ends with ctx
			}
			return nil
		case <-drained:
			return nil
		case <-s.drain:
			begin("POST /drain")
		case <-told.reload:
			s.reload(ctx)
		case got := <-told.stop:
			if draining {
				s.log.Info("draining goes on; a second signal ends it at once", zap.String("signal", got.String()))
			}
			begin(got.String())
		}
	}
}

// reload opens the access log anew, and reads the certificates and the log level again.
func (s *service) reload(ctx context.Context) {
	if s.access != nil {
		if err := s.access.Reopen(); err != nil {
			s.log.Error("the access log cannot be opened anew; it goes on where it was", zap.Error(err))
		}
	}
	if s.certs != nil {
		s.certs.Reload()
	}
	level, err := s.reread(ctx)
	if err == nil {
		err = s.level.UnmarshalText([]byte(level))
	}
	if err != nil {
		s.log.Error("the log level cannot be read again; it stays as it is", zap.Error(err))
		return
	}
	s.log.Info("reloaded", zap.String("logLevel", level))
}

// close ends what newService made, when everything else has ended.
func (s *service) close() {
	s.router.Close()
	if s.access != nil {
		s.access.Close()
	}
	if s.pins != nil {
		s.pins.close()
	}
	_ = s.log.Sync() // there is nobody left to tell
}

// announce keeps this router's status in etcd, once it has a table to speak of. Without etcd there is
// nothing to do.
func (s *service) announce(ctx context.Context) error {
	if !s.flags.source.etcd.Given() {
		return nil
	}
	select {
	case <-ctx.Done():
		return nil
	case <-s.documents.first:
	}
	told := &announcement{
		source: &s.flags.source, key: s.flags.source.etcd.Prefix + "fleet/" + s.id, status: s.status, log: s.log, registry: s.registry,
		beside: s.recordEpochs,
	}
	return told.keep(ctx)
}
