package clusters

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/flowcontrol"

	"gridrouter.io/deploy/api/v1alpha1"
)

// connection is one kubeconfig in use. It probes the cluster as long as it lives, and fills caches once
// somebody wants to read from there. Caches end when the cluster goes away: after an outage they would be
// old by nobody knows how much.
type connection struct {
	registry *Registry
	key      types.NamespacedName
	hash     string
	local    bool         // in cluster: only probed
	config   *rest.Config // without credentials, which are in the transport
	http     *http.Client // without a time-out
	ctx      context.Context
	cancel   context.CancelFunc
	begun    time.Time
	probed   chan struct{} // closed after the first probe

	mu      sync.Mutex
	state   State
	latency latencies
	caches  *caches // nil: nobody asked
}

// newConnection makes a connection, which does nothing before run. Its errors are about the kubeconfig.
func newConnection(r *Registry, key types.NamespacedName, w wanted) (*connection, error) {
	c := &connection{registry: r, key: key, hash: w.hash, begun: time.Now(), probed: make(chan struct{})}
	c.ctx, c.cancel = context.WithCancel(r.ctx)
	if w.hash == inCluster {
		c.local, c.config, c.http = true, r.local.GetConfig(), r.local.GetHTTPClient()
		return c, nil
	}
	config, err := parse(w.kubeconfig)
	if err == nil {
		if r.o.Wrap != nil {
			config.Wrap(r.o.Wrap)
		}
		c.http, err = httpClient(c.ctx, config)
	}
	if err != nil {
		c.cancel()
		return nil, err
	}
	c.config = &rest.Config{
		Host: config.Host, UserAgent: "gridrouter-operator",
		RateLimiter: flowcontrol.NewTokenBucketRateLimiter(r.o.QPS, r.o.Burst),
	}
	return c, nil
}

// run probes until the connection is dropped.
func (c *connection) run() {
	defer c.cancel()
	defer c.end()
	for {
		c.note(c.probe())
		select {
		case <-c.ctx.Done():
			return
		case <-time.After(wait.Jitter(c.registry.o.ProbeEvery, 0.1)):
		}
	}
}

// end waits for what the connection started, and closes its sockets.
func (c *connection) end() {
	c.mu.Lock()
	caches := c.caches
	c.caches = nil
	c.mu.Unlock()
	caches.stop()
	if !c.local {
		c.http.CloseIdleConnections()
	}
}

// note takes over what a probe found, and tells if that is news.
func (c *connection) note(found State) {
	if c.ctx.Err() != nil {
		return // what it found is about its own end
	}
	c.mu.Lock()
	first := c.state.Since.IsZero()
	before := c.state
	found.Since = before.Since
	if first || found.Reachable != before.Reachable {
		found.Since = time.Now()
	}
	found.Latency = c.latency.note(found.Latency)
	c.state = found
	var gone *caches
	if !found.Reachable {
		gone, c.caches = c.caches, nil
	}
	c.mu.Unlock()
	gone.stop()
	if first {
		close(c.probed)
	}
	switch {
	case first || found.Reachable != before.Reachable:
		c.registry.o.Log.Info("cluster probed", "connection", c.key, "reachable", found.Reachable, "reason", found.Reason, "message", found.Message)
		c.registry.changed(c.key)
	case found != before:
		c.registry.refresh(c.key)
	}
}

func (c *connection) lastState() (State, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state, !c.state.Since.IsZero()
}

// mostFilling is how long the first filling of caches is nothing to tell people of.
const mostFilling = 30 * time.Second

// cluster returns the cluster once it answers and its caches are filled. It waits for neither longer than
// Options.Wait after that was begun, so that many callers of a dead cluster do not wait one by one.
func (c *connection) cluster(ctx context.Context) (Cluster, error) {
	if !c.await(ctx, c.probed, c.begun) {
		return Cluster{}, unreachable(c.key, "", "it has not answered yet")
	}
	state, _ := c.lastState()
	if !state.Reachable {
		return Cluster{}, unreachable(c.key, state.Reason, state.Message)
	}
	if c.local {
		return c.registry.localCluster(), nil
	}
	caches, err := c.startCaches()
	switch {
	case errors.Is(err, errReplaced):
		return Cluster{}, unreachable(c.key, "", errReplaced.Error())
	case err != nil:
		return Cluster{}, unreachable(c.key, v1alpha1.ReasonUnreachable, describe(err))
	}
	if !c.await(ctx, caches.filled, caches.begun) {
		failed := caches.failure()
		switch {
		case c.ctx.Err() != nil:
			return Cluster{}, unreachable(c.key, "", errReplaced.Error())
		case failed != nil:
			return Cluster{}, unreachable(c.key, v1alpha1.ReasonUnreachable, "its objects cannot be read: "+describe(failed))
		case time.Since(caches.begun) < mostFilling:
			return Cluster{}, unreachable(c.key, "", "its objects are still being read")
		}
		return Cluster{}, unreachable(c.key, v1alpha1.ReasonUnreachable, fmt.Sprintf("its objects could not be read within %s", mostFilling))
	}
	return caches.handle, nil
}

// await says whether something was done before the caller's time, or the time since its beginning, is over.
func (c *connection) await(ctx context.Context, done <-chan struct{}, begun time.Time) bool {
	ctx, cancel := context.WithDeadline(ctx, begun.Add(c.registry.o.Wait))
	defer cancel()
	select {
	case <-done:
		return true
	default:
	}
	select {
	case <-done:
		return true
	case <-ctx.Done():
	case <-c.ctx.Done():
	}
	return false
}
