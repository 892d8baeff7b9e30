package main

import (
	"context"
	"net"
	"net/http"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"gridrouter.io/bench/lab/deck"
	"gridrouter.io/bench/lab/etcd"
	"gridrouter.io/bench/lab/ingress"
	"gridrouter.io/bench/lab/l4"
	"gridrouter.io/cmd/flags"
)

// newPartCommand returns "griddev part": what griddev starts as its child processes.
func newPartCommand() *cobra.Command {
	part := &cobra.Command{
		Use:    "part",
		Short:  "Run one part of a grid (griddev starts these itself)",
		Hidden: true,
	}
	part.AddCommand(newEtcdPart(), newDeckPart(), newIngressPart(), newL4Part())
	return part
}

func newEtcdPart() *cobra.Command {
	var config etcd.Config
	cmd := &cobra.Command{
		Use:   "etcd",
		Short: "A single etcd member",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := untilSignal(cmd.Context())
			defer stop()
			return etcd.Serve(ctx, config)
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&config.Dir, "dir", "", "`FOLDER` with the data (required)")
	fs.StringVar(&config.Client, "client", "127.0.0.1:2379", "`ADDR` for clients")
	fs.StringVar(&config.Peer, "peer", "127.0.0.1:2380", "`ADDR` for peers")
	fs.BoolVar(&config.NoSync, "no-sync", false, "leave writing to disk to the kernel")
	_ = cmd.MarkFlagRequired("dir")
	return cmd
}

// serverFlags are what all parts that listen have in common.
type serverFlags struct {
	listen string
	grace  time.Duration
}

func (f *serverFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.listen, "listen", "127.0.0.1:8080", "`ADDR` to listen at")
	cmd.Flags().DurationVar(&f.grace, "grace", time.Second, "how long what is open may go on after SIGTERM")
}

// run listens and serves until a signal comes.
func (f *serverFlags) run(ctx context.Context, serve func(context.Context, net.Listener, *zap.Logger) error) error {
	log, err := newLogger()
	if err != nil {
		return err
	}
	ctx, stop := untilSignal(ctx)
	defer stop()
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", f.listen)
	if err != nil {
		return err
	}
	log.Info("listening", zap.Stringer("address", listener.Addr()))
	err = serve(ctx, listener, log)
	log.Info("ended", zap.Error(err))
	return err
}

func newDeckPart() *cobra.Command {
	var (
		server serverFlags
		config deck.Config
	)
	cmd := &cobra.Command{
		Use:   "deck",
		Short: "A sample deck: says who it is and what it received",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return server.run(cmd.Context(), func(ctx context.Context, listener net.Listener, log *zap.Logger) error {
				config.Logger = log
				return deck.Serve(ctx, listener, server.grace, config)
			})
		},
	}
	server.register(cmd)
	cmd.Flags().StringVar(&config.Name, "name", "deck", "the deck's `NAME`")
	cmd.Flags().StringVar(&config.Zone, "zone", "", "the `ZONE` that it says it runs in")
	return cmd
}

func newIngressPart() *cobra.Command {
	var (
		server serverFlags
		config ingress.Config
	)
	cmd := &cobra.Command{
		Use:   "ingress",
		Short: "A mesh ingress: routes by Host",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return server.run(cmd.Context(), func(ctx context.Context, listener net.Listener, log *zap.Logger) error {
				config.Logger = log
				return ingress.Serve(ctx, listener, server.grace, config)
			})
		},
	}
	server.register(cmd)
	cmd.Flags().StringVar(&config.Name, "name", "mesh", "the `NAME` that it leaves in "+ingress.Header)
	cmd.Flags().StringToStringVar(&config.Routes, "route", nil, "`HOST=ADDR` of a deck, repeatable")
	return cmd
}

func newL4Part() *cobra.Command {
	var (
		server serverFlags
		config l4.Config
		status string
		reals  []string
	)
	cmd := &cobra.Command{
		Use:   "l4",
		Short: "A TCP forwarder: hands connections to real servers",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if config.Reals, err = parseReals(reals); err != nil {
				return err
			}
			return server.run(cmd.Context(), func(ctx context.Context, listener net.Listener, log *zap.Logger) error {
				config.Logger = log.Named(config.Name)
				return serveL4(ctx, listener, server.grace, status, config)
			})
		},
	}
	server.register(cmd)
	fs := cmd.Flags()
	fs.StringVar(&config.Name, "name", "l4", "`NAME` in log and status")
	fs.StringVar(&status, "status", "", "`ADDR` to tell the status at, as JSON (default none)")
	fs.StringVar(&config.Policy, "policy", l4.RoundRobin, l4.RoundRobin+" or "+l4.LeastConnections)
	fs.StringArrayVar(&reals, "to", nil, "`ADDR[,health=URL]` of a real server, repeatable")
	return cmd
}

// parseReals reads --to.
func parseReals(texts []string) ([]l4.Real, error) {
	var reals []l4.Real
	for _, text := range texts {
		address, option, found := strings.Cut(text, ",")
		health, ok := strings.CutPrefix(option, "health=")
		if _, _, err := net.SplitHostPort(address); err != nil || found && !ok {
			return nil, flags.Usagef("--to: %q is not ADDR or ADDR,health=URL", text)
		}
		reals = append(reals, l4.Real{Address: address, Health: health})
	}
	return reals, nil
}

// serveL4 serves the forwarder and, beside it, its status page.
func serveL4(ctx context.Context, listener net.Listener, grace time.Duration, status string, config l4.Config) error {
	forwarder, err := l4.New(config)
	if err != nil {
		return err
	}
	if status != "" {
		page := &http.Server{Addr: status, Handler: forwarder, ReadHeaderTimeout: 5 * time.Second}
		pageListener, err := new(net.ListenConfig).Listen(ctx, "tcp", status)
		if err != nil {
			return err
		}
		go func() { _ = page.Serve(pageListener) }()
		defer func() { _ = page.Close() }()
	}
	return forwarder.Serve(ctx, listener, grace)
}

func untilSignal(ctx context.Context) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
}

// newLogger returns a logger that people can read.
func newLogger() (*zap.Logger, error) {
	config := zap.NewDevelopmentConfig()
	config.Development = false
	config.DisableCaller = true
	config.DisableStacktrace = true
	config.Level = zap.NewAtomicLevelAt(zap.InfoLevel)
	return config.Build()
}
