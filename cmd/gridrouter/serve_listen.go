package main

import (
	"context"
	"net"
	"os"
	"strconv"

	"github.com/valyala/fasthttp"

	"golang.org/x/sync/errgroup"

	"gridrouter.io/cmd/flags"
	"gridrouter.io/router/admin"
)

// listening is where a service can be reached.
type listening struct {
	data, tls     []string
	admin, health string
}

// open takes all addresses: admin and health first, so that who asks whether the router
// is ready gets an answer from the beginning.
func (s *service) open(ctx context.Context, group *errgroup.Group) error {
	handler := admin.New(s.router, admin.Config{
		Version: flags.BuildVersion(version), Gatherer: s.registry, Source: s.sourceStatus, Token: s.flags.adminToken, Logger: s.log.Named("admin"),
		GSLB: func() any { return s.mesh.Status() }, AcceptHeld: s.documents.accept,
		Drain: func() {
			select {
			case s.drain <- struct{}{}:
			default: // asked already
			}
		},
	})
	var err error
	if s.addresses.admin, err = s.serveHTTP(ctx, group, "admin", s.flags.admin, handler); err != nil {
		return err
	}
	if s.flags.health != "" {
		health := admin.NewHealth(s.router, s.sourceStatus)
		if s.addresses.health, err = s.serveHTTP(ctx, group, "health", s.flags.health, health); err != nil {
			return err
		}
	}
	if s.certs != nil {
		group.Go(func() error {
			s.certs.Run(ctx)
			return nil
		})
	}
	for _, address := range s.flags.listenTLS {
		bound, err := s.router.ListenTLS(ctx, address, s.certs.TLSConfig())
		if err != nil {
			return listenError("listen-tls", err)
		}
		s.addresses.tls = append(s.addresses.tls, bound.String())
	}
	for _, address := range s.flags.listen {
		bound, err := s.router.Listen(ctx, address)
		if err != nil {
			return listenError("listen", err)
		}
		s.addresses.data = append(s.addresses.data, bound.String())
	}
	return nil
}

// serveHTTP serves a handler at an address until ctx ends, and returns the address in use.
func (s *service) serveHTTP(ctx context.Context, group *errgroup.Group, flag, address string, handler fasthttp.RequestHandler) (string, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return "", listenError(flag, err)
	}
	server := &admin.Server{Handler: handler, Logger: s.log.Named(flag)}
	group.Go(func() error { return server.Serve(ctx, listener) })
	return listener.Addr().String(), nil
}

// reachable returns an address that others can use: where a listener takes any address of
// this host, the host's name stands for them.
func reachable(address string) string {
	tcp, err := net.ResolveTCPAddr("tcp", address) // an address in use: there is nothing to resolve
	if err != nil || !tcp.IP.IsUnspecified() {
		return address
	}
	host, err := os.Hostname()
	if err != nil {
		return address
	}
	return net.JoinHostPort(host, strconv.Itoa(tcp.Port))
}
