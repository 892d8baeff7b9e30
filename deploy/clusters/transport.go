package clusters

import (
	"context"
	"net"
	"net/http"
	"time"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"
)

// httpClient returns a client that adds the credentials of a configuration to requests while ctx lasts. Its
// transport is its own: client-go's shared ones would keep sockets and credentials for good.
func httpClient(ctx context.Context, config *rest.Config) (*http.Client, error) {
	tlsConfig, err := rest.TLSConfigFor(config)
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}
	sockets := utilnet.SetTransportDefaults(&http.Transport{
		DialContext: whileLasting(ctx, dialer.DialContext), TLSClientConfig: tlsConfig, DisableCompression: config.DisableCompression,
		TLSHandshakeTimeout: 5 * time.Second, MaxIdleConnsPerHost: 8, IdleConnTimeout: 90 * time.Second,
	})
	wrapped, err := rest.HTTPWrappersForConfig(config, sockets)
	if err != nil {
		return nil, err
	}
	return &http.Client{
		Transport: &gate{ctx: ctx, next: wrapped, sockets: sockets},
		// A redirect could lead anywhere that the operator reaches and the tenant does not.
		CheckRedirect: func(*http.Request, []*http.Request) error { return errRedirected },
	}, nil
}

type dial func(ctx context.Context, network, address string) (net.Conn, error)

// whileLasting has sockets closed when ctx ends. To close those that are idle would not do: one whose last request
// is ended a moment later would stay, with the credentials that were taken away, until it was idle for long.
func whileLasting(ctx context.Context, next dial) dial {
	return func(request context.Context, network, address string) (net.Conn, error) {
		conn, err := next(request, network, address)
		if err != nil {
			return nil, err
		}
		return &socket{Conn: conn, forget: context.AfterFunc(ctx, func() { _ = conn.Close() })}, nil
	}
}

// socket ends with its connection.
type socket struct {
	net.Conn
	forget func() bool
}

// Close closes the socket.
func (s *socket) Close() error {
	s.forget()
	return s.Conn.Close()
}

// gate lets no request through once the connection is over, whoever still has a client of it.
type gate struct {
	ctx     context.Context
	next    http.RoundTripper
	sockets *http.Transport
}

// RoundTrip refuses, or passes on.
func (g *gate) RoundTrip(request *http.Request) (*http.Response, error) {
	if g.ctx.Err() != nil {
		return nil, errReplaced
	}
	response, err := g.next.RoundTrip(request)
	if err != nil && g.ctx.Err() != nil {
		return nil, errReplaced // its socket was closed under it
	}
	return response, err
}

// CloseIdleConnections is called by http.Client's method of that name.
func (g *gate) CloseIdleConnections() { g.sockets.CloseIdleConnections() }
