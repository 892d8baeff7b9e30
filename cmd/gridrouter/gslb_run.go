package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"gridrouter.io/router/admin"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"gridrouter.io/cmd/flags"
	"gridrouter.io/discovery"
	"gridrouter.io/discovery/catalog"
	"gridrouter.io/gslb"
)

// gslbService is a running "gridrouter gslb".
type gslbService struct {
	flags    *gslbFlags
	id       string
	log      *zap.Logger
	registry *prometheus.Registry
	started  time.Time

	source    discovery.Source
	names     *gslbNames
	snapshots *snapshots
	server    *gslb.Server
	metrics   net.Listener // nil: none
}

// runGslb serves until a signal or a fault.
func runGslb(ctx context.Context, f *gslbFlags) error {
	ignoreBrokenPipes()
	told := watchSignals("gridrouter gslb") // at SIGHUP there is nothing to reload, and whoever reloads a whole machine must not end it
	defer told.end()
	s, err := newGslbService(ctx, f, told)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	group, ctx := errgroup.WithContext(ctx)
	s.run(ctx, group)
	told.running.Store(true)
	group.Go(func() error {
		defer stop()
		select {
		case got := <-told.stop:
			s.log.Info("gslb ends", zap.Stringer("because", got))
		case <-ctx.Done():
		}
		return nil
	})
	s.log.Info("gslb started", zap.String("version", flags.BuildVersion(version)), zap.String("id", s.id), zap.String("source", s.source.Status().Detail))
	err = group.Wait()
	s.log.Info("gslb ended", zap.Error(err))
	return err
}

// newGslbService makes everything, opens the listeners, and answers from the snapshot if there is one.
func newGslbService(ctx context.Context, f *gslbFlags, told *signals) (s *gslbService, err error) {
	s = &gslbService{flags: f, started: time.Now(), registry: prometheus.NewRegistry()}
	config, err := f.zoneConfig()
	if err != nil {
		return nil, err
	}
	if err = checkListenAddr("listen", f.listen); err != nil {
		return nil, err
	}
	if f.metrics != "" {
		if err = checkListenAddr("metrics", f.metrics); err != nil {
			return nil, err
		}
	}
	if s.id, err = processID("server-id", f.server, f.listen); err != nil {
		return nil, err
	}
	if s.log, _, err = newLogger(f.logLevel); err != nil {
		return nil, err
	}
	told.log.Store(s.log)
	s.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), newBuildInfo())
	reader := catalog.NewReader()
	path := snapshotPath(f.snapshot, "gslb-"+s.id)
	_, unsaved := os.Stat(path)
	f.source.mayBeAway = path != "" && unsaved == nil
	if s.source, err = f.source.open(catalog.FolderGslb+"/", reader, withoutRepeats(s.log.Named("source")), s.registry); err != nil {
		return nil, err
	}
	if s.server, err = gslb.NewServer(gslb.ServerConfig{Addr: f.listen, Logger: s.log, Registerer: s.registry}); err != nil {
		return nil, listenError("listen", err)
	}
	s.names = newGslbNames(reader.Decode, config, s.source.Status().Kind, s.server.SetZone, s.log, s.registry)
	if err = s.open(ctx, path); err != nil {
		return nil, errors.Join(err, s.server.Close())
	}
	if s.source.Status().Kind != "etcd" {
		s.names.guard.mend = s.howToAccept
	}
	return s, nil
}

// howToAccept says how a server accepts what its guard holds of a folder's names, which has no marks.
func (s *gslbService) howToAccept(revision int64) string {
	if s.metrics != nil && isLoopback(s.metrics.Addr().String()) {
		return fmt.Sprintf("put the files back, or on this machine: gridctl guard accept %d --router %s", revision, s.metrics.Addr())
	}
	return "put the files back, or start the server again with --metrics 127.0.0.1:PORT, and accept there: gridctl guard accept REVISION --router 127.0.0.1:PORT; the names stay answered from the snapshot meanwhile"
}

// open opens what is left, and answers from the snapshot.
func (s *gslbService) open(ctx context.Context, path string) (err error) {
	of, err := s.flags.source.snapshotOf()
	if err != nil {
		return flags.Usagef("--routes: %w", err)
	}
	if err = checkSnapshotPath(path); err != nil {
		return err
	}
	if s.flags.metrics != "" {
		if s.metrics, err = (&net.ListenConfig{}).Listen(ctx, "tcp", s.flags.metrics); err != nil {
			return listenError("metrics", err)
		}
		s.log.Info("serving metrics", zap.Stringer("addr", s.metrics.Addr()))
	}
	s.snapshots = newSnapshots(&snapshots{
		path: path, of: discovery.SnapshotOfNames + of, who: "the GSLB server", by: s.id, format: gslbSnapshotFormat, log: s.log.Named("snapshot"),
	}, s.registry)
	s.snapshots.restore(s.names.restore)
	return nil
}

// run starts all that goes on until ctx ends.
func (s *gslbService) run(ctx context.Context, group *errgroup.Group) {
	if s.metrics != nil {
		group.Go(func() error { return s.serveMetrics(ctx) })
	}
	group.Go(func() error { return s.server.Run(ctx) })
	group.Go(func() error { return unlessDone(ctx, s.source.Follow(ctx, s.apply)) })
	group.Go(func() error { return s.snapshots.run(ctx, s.saved) })
	group.Go(func() error {
		return watchSource(ctx, s.source, s.started, "this server answers from its snapshot, or SERVFAIL where it has none, and keeps trying", s.log)
	})
	if s.flags.source.etcd.Given() {
		group.Go(func() error { return s.followMarks(ctx) })
		group.Go(func() error { return s.announce(ctx) })
	}
}

// apply applies a batch. The first list after a start from a snapshot may come from another etcd
// than the snapshot did.
func (s *gslbService) apply(batch discovery.Batch) {
	s.snapshots.compare(&batch, s.source.Status())
	s.names.apply(batch)
	s.snapshots.restored.Store(nil)
}

// saved returns what there is to write down; nil: nothing.
func (s *gslbService) saved() *saved {
	if s.snapshots.restored.Load() != nil {
		return nil // what is answered was read from the snapshot
	}
	return s.names.saved(s.source.Status().Cluster)
}

// followMarks follows the marks that accept mass changes. They lie far from the names, with all
// other documents between them, and come in a watch of their own: what is meant may be held for a
// moment until its mark is there. Without the right to read them it goes on, and what is held
// stays so.
func (s *gslbService) followMarks(ctx context.Context) error {
	config, err := s.flags.source.clientConfig()
	if err != nil {
		return err
	}
	log := withoutRepeats(s.log.Named("marks"))
	marks := discovery.NewEtcd(discovery.EtcdConfig{
		Dial:    func() (*clientv3.Client, error) { return discovery.NewClient(config, log) },
		Contact: config.Contact, Root: s.flags.source.etcd.Prefix + "guard/", Logger: log,
	})
	return unlessDone(ctx, marks.Follow(ctx, s.names.acceptMarks))
}

// announce keeps this server's status in etcd, so that gridctl shows it and what it holds.
func (s *gslbService) announce(ctx context.Context) error {
	told := &announcement{
		source: &s.flags.source, key: s.flags.source.etcd.Prefix + catalog.GslbServersFolder + s.id, status: s.status, log: s.log, registry: s.registry,
	}
	return told.keep(ctx)
}

// status returns the status of the moment.
func (s *gslbService) status() []byte {
	source := s.source.Status()
	now := catalog.Status{
		ID: s.id, Address: reachable(s.server.Addr().String()), Version: flags.BuildVersion(version),
		Source: source.Kind, AgeSeconds: source.Age.Truncate(announceAge).Seconds(), Started: s.started.UTC().Truncate(time.Second),
	}
	if former := s.snapshots.restored.Load(); former != nil {
		now.Source, now.AgeSeconds = "snapshot", ageOf(former.Written, time.Now()).Truncate(announceAge).Seconds()
	}
	s.names.describe(&now)
	text, err := json.Marshal(now)
	if err != nil { // plain values always have a JSON form
		return nil
	}
	return text
}

// serveMetrics serves GET /metrics until ctx ends, and, to this machine alone, POST /guard/accept.
func (s *gslbService) serveMetrics(ctx context.Context) error {
	mux := new(admin.Mux)
	mux.HandleFunc("GET /metrics", admin.Metrics(s.registry))
	mux.HandleFunc("POST /guard/accept", s.acceptHeld)
	server := &admin.Server{Handler: mux.Serve, Write: 30 * time.Second, Logger: s.log.Named("metrics")}
	return server.Serve(ctx, s.metrics)
}

// acceptHeld answers POST /guard/accept?revision=N as a router's admin address does.
func (s *gslbService) acceptHeld(ctx *fasthttp.RequestCtx) {
	revision, err := strconv.ParseInt(string(ctx.QueryArgs().Peek("revision")), 10, 64)
	switch {
	case !isLoopback(s.metrics.Addr().String()):
		admin.Fail(ctx, http.StatusForbidden, "this address can be reached from other machines; let --metrics be a loopback address to accept anything here")
	case len(ctx.Request.Header.Peek("Origin")) > 0:
		admin.Fail(ctx, http.StatusForbidden, "a page in a browser must not act for whom it is shown to")
	case err != nil || revision < 1:
		admin.Fail(ctx, http.StatusBadRequest, "revision is no whole number; write the one that the log says")
	default:
		if err := s.names.acceptHeld(revision); err != nil {
			admin.Fail(ctx, http.StatusConflict, err.Error())
			return
		}
		ctx.SetContentType("text/plain; charset=utf-8")
		ctx.SetBodyString("what was held is in force\n")
	}
}
