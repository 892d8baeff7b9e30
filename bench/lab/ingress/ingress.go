// Package ingress is the sample mesh ingress: it sends each request to the deck whose
// domain is the request's Host, and leaves its name on requests and answers, so that a
// person sees that the way led through it.
package ingress

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"

	"go.uber.org/zap"
)

// Header is the field that the ingress adds to requests and answers.
const Header = "X-Ingress"

// Config describes an ingress.
type Config struct {
	// Name is what Header says.
	Name string
	// Routes map a host, in lower case and without port, to a deck's address (host:port).
	Routes map[string]string
	// Logger receives faults. Nil: no log.
	Logger *zap.Logger
}

// Serve answers requests on the listener until ctx ends; then it waits for the
// requests in flight, for grace at most. It closes the listener.
func Serve(ctx context.Context, listener net.Listener, grace time.Duration, config Config) error {
	if config.Logger == nil {
		config.Logger = zap.NewNop()
	}
	transport := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: time.Second}).DialContext,
		MaxIdleConnsPerHost: 256,
		IdleConnTimeout:     time.Minute,
		DisableCompression:  true,
	}
	defer transport.CloseIdleConnections()
	server := &http.Server{
		Handler:           newHandler(config, transport),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          zap.NewStdLog(config.Logger),
	}
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		err := server.Shutdown(drain)
		if err != nil {
			err = server.Close()
		}
		stopped <- err
	})
	defer stop()
	if err := server.Serve(listener); err != nil && err != http.ErrServerClosed {
		return fmt.Errorf("ingress %s: %w", config.Name, err)
	}
	return <-stopped
}

// newHandler routes by Host.
func newHandler(config Config, transport http.RoundTripper) http.Handler {
	proxies := make(map[string]http.Handler, len(config.Routes))
	for host, address := range config.Routes {
		proxies[host] = newProxy(config, address, transport)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		proxy, ok := proxies[hostOf(r)]
		if !ok {
			w.Header().Set(Header, config.Name)
			http.Error(w, "the ingress knows no deck with the domain "+hostOf(r), http.StatusNotFound)
			return
		}
		proxy.ServeHTTP(w, r)
	})
}

// newProxy passes requests on to one deck as they are, but for Header.
func newProxy(config Config, address string, transport http.RoundTripper) http.Handler {
	target := &url.URL{Scheme: "http", Host: address}
	return &httputil.ReverseProxy{
		Transport:     transport,
		FlushInterval: -1, // a streamed answer passes at once
		ErrorLog:      zap.NewStdLog(config.Logger),
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host
			for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
				if values, ok := r.In.Header[name]; ok {
					r.Out.Header[name] = values
				}
			}
			r.Out.Header.Add(Header, config.Name)
		},
		ModifyResponse: func(r *http.Response) error {
			r.Header.Add(Header, config.Name)
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if r.Context().Err() != nil {
				config.Logger.Info("client left before the answer", zap.String("host", r.Host))
			} else {
				config.Logger.Warn("deck cannot be reached", zap.String("host", r.Host), zap.Error(err))
			}
			w.Header().Set(Header, config.Name)
			http.Error(w, "the ingress cannot reach the deck", http.StatusBadGateway)
		},
	}
}

// hostOf returns the request's host in lower case, without port.
func hostOf(r *http.Request) string {
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.ToLower(host)
}
