package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"gridrouter.io/cmd/flags"
	"gridrouter.io/discovery/catalog"
	"gridrouter.io/gslb"
	"gridrouter.io/routing"
)

// gslbFlags are the flags of "gridrouter gslb".
type gslbFlags struct {
	source          sourceFlags
	listen, metrics string
	origins, zones  []string
	logLevel        string
}

// newGslbCommand returns "gridrouter gslb".
func newGslbCommand() *cobra.Command {
	f := &gslbFlags{}
	cmd := &cobra.Command{
		Use:   "gslb",
		Short: "Answer DNS questions for mesh decks with their VIPs",
		Long: `gslb serves the Gslb documents over DNS (UDP and TCP), with authority and nothing else, and
follows them: a change is answered at once, a bad document keeps its last good form.

SIGTERM and SIGINT end it, a second one at once and with exit status 1.`,
		Example: `  gridrouter gslb --etcd http://127.0.0.1:2379 --listen 127.0.0.1:5300
  gridrouter gslb --routes deploy/samples --origin deck.example --zone east-a=10.1.0.0/16`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runGslb(cmd.Context(), f) },
	}
	fs := cmd.Flags()
	fs.StringVar(&f.listen, "listen", ":53", "`ADDR` (IP:port, or :port for all addresses) to answer at, over UDP and TCP; port 0: the system chooses")
	f.source.register(fs)
	fs.StringSliceVar(&f.origins, "origin", nil, "domain `NAME` to be authoritative for, repeatable (default the parent domain of each document's name)")
	fs.StringSliceVar(&f.zones, "zone", nil, "`NAME=CIDR`: askers from these addresses are in the zone NAME, repeatable (default none)")
	fs.StringVar(&f.metrics, "metrics", "", "`ADDR` to serve GET /metrics at (default none)")
	registerLogLevel(fs, &f.logLevel)
	return cmd
}

// runGslb serves until a signal or a fault.
func runGslb(ctx context.Context, f *gslbFlags) error {
	outliveReaders()
	config, err := f.zoneConfig()
	if err != nil {
		return err
	}
	if err = checkListenAddr("listen", f.listen); err != nil {
		return err
	}
	if f.metrics != "" {
		if err = checkListenAddr("metrics", f.metrics); err != nil {
			return err
		}
	}
	told := watchSignals("gridrouter gslb") // at SIGHUP there is nothing to reload, and whoever reloads a whole machine must not end it
	defer told.end()
	logger, _, err := newLogger(f.logLevel)
	if err != nil {
		return err
	}
	told.log.Store(logger)
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), newBuildInfo())
	reader := catalog.NewReader()
	source, err := f.source.open(catalog.FolderGslb+"/", reader, logger, registry)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	server, err := gslb.NewServer(gslb.ServerConfig{Addr: f.listen, Logger: logger, Registerer: registry})
	if err != nil {
		return listenError("listen", err)
	}
	defer func() { _ = server.Close() }() // it matters only where Run was never reached
	group, ctx := errgroup.WithContext(ctx)
	if f.metrics != "" {
		var listener net.Listener
		if listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", f.metrics); err != nil {
			return listenError("metrics", err)
		}
		logger.Info("serving metrics", zap.Stringer("addr", listener.Addr()))
		group.Go(func() error { return serveMetrics(ctx, listener, registry) })
	}
	names := newGslbNames(reader.Decode, config, logger, registry)
	group.Go(func() error { return server.Run(ctx) })
	group.Go(func() error {
		return untilDone(ctx, source.Follow(ctx, names.apply(server.SetZone)))
	})
	told.running.Store(true)
	group.Go(func() error {
		defer stop()
		select {
		case got := <-told.stop:
			logger.Info("gslb ends", zap.Stringer("because", got))
		case <-ctx.Done():
		}
		return nil
	})
	logger.Info("gslb started", zap.String("version", flags.BuildVersion(version)), zap.String("source", source.Status().Detail))
	err = group.Wait()
	logger.Info("gslb ended", zap.Error(err))
	return err
}

// untilDone turns the error that comes of ctx's end into none.
func untilDone(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return nil
}

// zoneConfig reads --origin and --zone.
func (f *gslbFlags) zoneConfig() (gslb.ZoneConfig, error) {
	config := gslb.ZoneConfig{Origins: f.origins, Networks: map[string][]netip.Prefix{}}
	for _, problem := range gslb.NewZone(nil, config).Problems() {
		return config, flags.Usagef("--origin: %w", problem.Err)
	}
	for _, text := range f.zones {
		name, cidr, ok := strings.Cut(text, "=")
		prefix, err := netip.ParsePrefix(cidr)
		if !ok || routing.CheckName(name) != nil || err != nil {
			return config, flags.Usagef("--zone: %q is not NAME=CIDR; write it as in east-a=10.1.0.0/16", text)
		}
		if prefix != prefix.Masked() {
			return config, flags.Usagef("--zone: %q has bits set behind its length; write %s=%s", text, name, prefix.Masked())
		}
		config.Networks[name] = append(config.Networks[name], prefix)
	}
	return config, nil
}

// serveMetrics serves GET /metrics until ctx ends.
func serveMetrics(ctx context.Context, listener net.Listener, registry *prometheus.Registry) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	server := &http.Server{Handler: mux, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, MaxHeaderBytes: 16 << 10}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
