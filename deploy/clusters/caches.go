package clusters

import (
	"context"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/controller-runtime/pkg/cluster"
)

// caches are those of a remote cluster, from their start until it goes away.
type caches struct {
	handle Cluster
	begun  time.Time
	filled chan struct{} // closed when all kinds are there
	cancel context.CancelFunc
	ended  sync.WaitGroup

	mu  sync.Mutex
	err error // the last of filling them
}

// startCaches returns the connection's caches, and starts them if they are not. It does not wait.
func (c *connection) startCaches() (*caches, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.caches != nil {
		return c.caches, nil
	}
	if !c.state.Reachable || c.ctx.Err() != nil {
		return nil, errReplaced
	}
	s := &caches{begun: time.Now(), filled: make(chan struct{})}
	remote, err := c.newCluster(s)
	if err != nil {
		return nil, err
	}
	s.handle = Cluster{Client: remote.GetClient(), Live: remote.GetAPIReader(), Remote: true}
	var ctx context.Context
	ctx, s.cancel = context.WithCancel(c.ctx)
	s.ended.Go(func() { s.note(remote.Start(ctx)) })
	s.ended.Go(func() { c.fill(ctx, s, remote.GetCache()) })
	c.caches = s
	return s, nil
}

// newCluster makes a cluster whose requests are bounded, but for those of its caches.
func (c *connection) newCluster(s *caches) (cluster.Cluster, error) {
	bounded := *c.http
	bounded.Timeout = c.registry.o.RequestTimeout
	scheme := c.registry.local.GetScheme()
	watched, err := kinds(c.registry.o.Watch, scheme)
	if err != nil {
		return nil, err
	}
	return cluster.New(c.config, func(o *cluster.Options) {
		o.Scheme, o.HTTPClient, o.Logger = scheme, &bounded, c.registry.o.Log
		o.Cache = cache.Options{
			HTTPClient: c.http, ByObject: c.registry.o.Select, ReaderFailOnMissingInformer: true,
			DefaultNamespaces:        map[string]cache.Config{c.key.Namespace: {}},
			DefaultWatchErrorHandler: func(_ context.Context, _ *toolscache.Reflector, err error) { s.note(err) },
		}
		o.NewClient = func(config *rest.Config, options client.Options) (client.Client, error) {
			live, err := client.New(config, client.Options{HTTPClient: options.HTTPClient, Scheme: scheme, Mapper: options.Mapper})
			if err != nil {
				return nil, err
			}
			options.Cache = &client.CacheOptions{Reader: &reader{
				scheme: scheme, watched: watched, cached: options.Cache.Reader, live: live,
			}}
			return client.New(config, options)
		}
	})
}

// fill waits for the caches of all watched kinds. What fails is tried again: a right may be granted later.
func (c *connection) fill(ctx context.Context, s *caches, from cache.Cache) {
	for _, object := range c.registry.o.Watch {
		for !c.follow(ctx, s, from, object) {
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Second):
			}
		}
	}
	close(s.filled)
	c.registry.changed(c.key)
}

// follow has the changes of one kind told, and says whether all that there is was told.
func (c *connection) follow(ctx context.Context, s *caches, from cache.Cache, object client.Object) bool {
	informer, err := from.GetInformer(ctx, object, cache.BlockUntilSynced(false))
	if err != nil {
		s.note(err)
		return false
	}
	registration, err := informer.AddEventHandler(handler(c.fleetEvent))
	if err != nil {
		s.note(err)
		return false
	}
	return toolscache.WaitForCacheSync(ctx.Done(), registration.HasSynced)
}

// fleetEvent tells of the fleets of the connection's namespace. Objects of others were not asked for: whoever sends
// them would have fleets looked at that are none of its business.
func (c *connection) fleetEvent(before, after client.Object) {
	for _, o := range []client.Object{before, after} {
		if o != nil && o.GetNamespace() != c.key.Namespace {
			return
		}
	}
	c.registry.fleetEvent(before, after)
}

// note keeps the last error, for those who ask why they wait.
func (s *caches) note(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.err = err
	}
}

// failure is the last error; nil: there was none.
func (s *caches) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// stop ends the caches and waits for that. Nil caches have nothing to end.
func (s *caches) stop() {
	if s != nil {
		s.cancel()
		s.ended.Wait()
	}
}

// reader reads watched kinds from caches, which are filled, and others from the API server, so that no
// cache is begun that somebody would have to wait for.
type reader struct {
	scheme       *runtime.Scheme
	watched      map[schema.GroupVersionKind]bool
	cached, live client.Reader
}

// Get reads an object from where its kind is read from.
func (r *reader) Get(ctx context.Context, key client.ObjectKey, into client.Object, opts ...client.GetOption) error {
	return r.of(into).Get(ctx, key, into, opts...)
}

// List does the same for a list.
func (r *reader) List(ctx context.Context, into client.ObjectList, opts ...client.ListOption) error {
	return r.of(into).List(ctx, into, opts...)
}

func (r *reader) of(object runtime.Object) client.Reader {
	kind, err := apiutil.GVKForObject(object, r.scheme)
	if err == nil && meta.IsListType(object) {
		kind.Kind = strings.TrimSuffix(kind.Kind, "List")
	}
	if err == nil && r.watched[kind] {
		return r.cached
	}
	return r.live
}

func kinds(objects []client.Object, scheme *runtime.Scheme) (map[schema.GroupVersionKind]bool, error) {
	all := map[schema.GroupVersionKind]bool{}
	for _, object := range objects {
		kind, err := apiutil.GVKForObject(object, scheme)
		if err != nil {
			return nil, err
		}
		all[kind] = true
	}
	return all, nil
}
