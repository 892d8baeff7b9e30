package operator

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

// syncState says whether the operator has read what it watches. It runs on each operator, leading or not.
type syncState struct {
	cache  interface{ WaitForCacheSync(context.Context) bool }
	synced atomic.Bool
}

// Start waits for the caches; it implements manager.Runnable.
func (s *syncState) Start(ctx context.Context) error {
	s.synced.Store(s.cache.WaitForCacheSync(ctx))
	<-ctx.Done()
	return nil
}

// NeedLeaderElection says that it runs on standbys too.
func (s *syncState) NeedLeaderElection() bool { return false }

// addServers adds the endpoints for probes and Prometheus, on leaders and standbys alike.
func (o *operator) addServers() error {
	o.synced.cache = o.manager.GetCache()
	if err := o.manager.Add(&o.synced); err != nil {
		return err
	}
	if err := o.serve("health", o.config.Health, o.health()); err != nil {
		return err
	}
	shown := prometheus.Gatherers{metrics.Registry, o.registry}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(shown, promhttp.HandlerOpts{ErrorLog: zap.NewStdLog(o.config.Log)}))
	return o.serve("metrics", o.config.Metrics, mux)
}

// serve adds a server for l, if there is one.
func (o *operator) serve(name string, l net.Listener, handler http.Handler) error {
	if l == nil {
		return nil
	}
	o.config.Log.Info("serving "+name, zap.Stringer("addr", l.Addr()))
	return o.manager.Add(&manager.Server{Name: name, Listener: l, Server: &http.Server{
		Handler: handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second,
		IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10, ErrorLog: zap.NewStdLog(o.config.Log.Named(name)),
	}})
}

// health answers /healthz while the process lives, and /readyz once it could lead: a standby is ready too, else
// no Deployment with two of them would ever be available.
func (o *operator) health() http.Handler {
	say := func(w http.ResponseWriter, status int, text string) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(status)
		_, _ = fmt.Fprintln(w, text) // who asked has gone, and nobody else is told
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "alive") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !o.synced.synced.Load() {
			say(w, http.StatusServiceUnavailable, "what the operator watches was not read yet: is the API server there, and may the operator read it?")
			return
		}
		say(w, http.StatusOK, o.role())
	})
	return mux
}

// role says what the operator does at the moment.
func (o *operator) role() string {
	select {
	case <-o.manager.Elected():
		return "ready: leads"
	default:
		return "ready: stands by"
	}
}
