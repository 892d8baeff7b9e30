package metricsapi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// renewEvery is how often the Secret and the ConfigMap are read.
const renewEvery = 30 * time.Second

// Options say where and for whom the API is served. All are required but Log.
type Options struct {
	// Listener is where; the server closes it.
	Listener net.Listener
	// Client reads the ConfigMap and reads and writes the Secret. It must not cache, which would ask for all
	// Secrets.
	Client client.Client
	// Namespace and Service name the Service that the APIService points at. The Secret is in the namespace.
	Namespace, Service string
	// Source has the numbers.
	Source Source
	// Log takes what goes wrong in the background; nil: nobody does.
	Log *zap.Logger
}

// Server serves the API. Every replica of the operator runs one. Its methods may be called at once.
type Server struct {
	options Options
	gate    gate
	keys    atomic.Pointer[keys]
	pair    atomic.Pointer[tls.Certificate]
}

// New returns a server that does not serve yet.
func New(o Options) *Server {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	s := &Server{options: o}
	s.gate.next = NewHandler(o.Source)
	return s
}

// NeedLeaderElection says that replicas serve whichever of them leads.
func (s *Server) NeedLeaderElection() bool { return false }

// Bundle returns the CAs that vouch for the server, as PEM, for spec.caBundle of the APIServices; nil until
// the Secret was read. It changes when a CA is renewed, so it is to be handed on again and again.
func (s *Server) Bundle() []byte {
	if k := s.keys.Load(); k != nil {
		return k.bundle
	}
	return nil
}

// Start serves until ctx ends, and returns nil then; an error if serving fails. Without the Secret and the
// ConfigMap it refuses connections and requests, and goes on trying to read them.
func (s *Server) Start(ctx context.Context) error {
	server := &http.Server{
		Handler: &s.gate, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10, ErrorLog: zap.NewStdLog(s.options.Log),
		TLSConfig: &tls.Config{
			MinVersion: tls.VersionTLS12,
			// Certificates are asked for here and judged by the gate, which can say what is wrong with one.
			ClientAuth: tls.RequestClientCert,
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
				if pair := s.pair.Load(); pair != nil {
					return pair, nil
				}
				return nil, errors.New("there is no certificate yet")
			},
		},
	}
	background, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.renewing(background)
		ending, over := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer over()
		if server.Shutdown(ending) != nil {
			_ = server.Close() // the time for those that are being served is over
		}
	}()
	err := server.ServeTLS(s.options.Listener, "", "")
	stop()
	<-done
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve the metrics API: %w", err)
}

// renewing reads the Secret and the ConfigMap now and then until ctx ends; sooner where that failed.
func (s *Server) renewing(ctx context.Context) {
	for {
		pause := renewEvery
		if err := errors.Join(s.gate.renew(ctx, s.options.Client), s.renewKeys(ctx)); err != nil && ctx.Err() == nil {
			s.options.Log.Warn("the metrics API cannot be kept up to date", zap.Error(err))
			pause = 2 * time.Second
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

func (s *Server) renewKeys(ctx context.Context) error {
	host := s.options.Service + "." + s.options.Namespace + ".svc"
	now, err := shared(ctx, s.options.Client, s.options.Namespace, []string{host}, time.Now())
	if err != nil {
		return err
	}
	pair, err := tls.X509KeyPair(now.cert, now.key)
	if err != nil {
		return err
	}
	s.keys.Store(&now)
	s.pair.Store(&pair)
	return nil
}
