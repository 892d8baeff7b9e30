package clusters

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/cluster"

	"gridrouter.io/deploy/api/v1alpha1"
)

// LabelFleet is the label of all objects of a fleet, by which changes are told with the fleet's name.
const LabelFleet = "gridrouter.io/fleet"

// Options are what a [Registry] is made with. The zero value is a registry that tells nobody of changes.
type Options struct {
	// Watch lists the kinds that are read from caches, local and remote. Others are read from the API
	// server each time. Remote caches hold the namespace of the connection alone.
	Watch []client.Object
	// Select narrows what remote caches hold of a kind, such as by a label.
	Select map[client.Object]cache.ByObject
	// Namespaces are those whose Secrets with kubeconfigs are followed; none: all.
	Namespaces map[string]cache.Config
	// Changed is called with the fleet of each watched object that changed in any cluster: its namespace,
	// and its label gridrouter.io/fleet. It must not block, and is called by several goroutines at once.
	Changed func(namespace, fleet string)
	// ConnectionChanged is called after a connection was replaced or removed, after its cluster went away
	// or came back, and when its caches are filled. Who was refused asks again then. It must not block, and
	// is called by several goroutines at once.
	ConnectionChanged func(namespace, name string)

	// Wrap returns a transport around that of a remote cluster, which sees all requests to it. nil: none.
	Wrap func(http.RoundTripper) http.RoundTripper
	// Wait bounds how long Cluster waits for a cluster that is being reached first. 0: 2 s.
	Wait time.Duration
	// ProbeEvery is the time between two probes of one cluster. 0: 10 s.
	ProbeEvery time.Duration
	// RequestTimeout bounds each request to a remote cluster but watches and the lists of caches. 0: 10 s.
	RequestTimeout time.Duration
	// QPS and Burst limit the requests to each remote cluster. 0: 50 and 100.
	QPS   float32
	Burst int
	// Log gets what people may want to know of connections; nothing secret. The zero value: nobody
	// is told.
	Log logr.Logger
}

func (o Options) withDefaults() Options {
	setDefault(&o.Wait, 2*time.Second)
	setDefault(&o.ProbeEvery, 10*time.Second)
	setDefault(&o.RequestTimeout, 10*time.Second)
	setDefault(&o.QPS, 50)
	setDefault(&o.Burst, 100)
	if o.Changed == nil {
		o.Changed = func(string, string) {}
	}
	if o.ConnectionChanged == nil {
		o.ConnectionChanged = func(string, string) {}
	}
	if o.Log.GetSink() == nil {
		o.Log = logr.Discard()
	}
	return o
}

func setDefault[T comparable](value *T, otherwise T) {
	var zero T
	if *value == zero {
		*value = otherwise
	}
}

// Cluster is a Kubernetes cluster that was reachable a moment ago. It is for one piece of work, such as one
// reconcile: after that, ask the registry again. Its methods may be called at once by many.
type Cluster struct {
	// Client reads the kinds of Options.Watch from caches, and all else from the API server; it writes to
	// the API server.
	Client client.Client
	// Live reads from the API server.
	Live client.Reader
	// Remote says that objects there cannot be owned by objects of the cluster where the operator runs.
	Remote bool
}

// Registry reaches clusters by the names of their ClusterConnections. It is a runnable of a manager, and
// its methods may be called at once by many.
type Registry struct {
	local cluster.Cluster
	o     Options

	started chan struct{} // closed once ctx and secrets are set
	ctx     context.Context
	secrets cache.Cache // of Secrets with the label of kubeconfigs, and no others

	mu          sync.Mutex
	connections map[types.NamespacedName]*connection
	notify      []func(types.NamespacedName)
	running     sync.WaitGroup
}

// New returns a registry for the connections that lie in the local cluster, which is the manager. It does
// nothing before [Registry.Start].
func New(local cluster.Cluster, o Options) *Registry {
	return &Registry{
		local: local, o: o.withDefaults(),
		started:     make(chan struct{}),
		connections: map[types.NamespacedName]*connection{},
	}
}

// Cluster returns the cluster that a ClusterConnection of a namespace leads to, and the local one for the
// empty name. It waits at most Options.Wait for a cluster that was not asked for before. The error is always
// an [*UnreachableError]; when the cause is gone, Options.ConnectionChanged is called.
func (r *Registry) Cluster(ctx context.Context, namespace, name string) (Cluster, error) {
	if name == "" {
		return r.localCluster(), nil
	}
	c, err := r.connect(ctx, types.NamespacedName{Namespace: namespace, Name: name})
	if err != nil {
		return Cluster{}, err
	}
	return c.cluster(ctx)
}

func (r *Registry) localCluster() Cluster {
	return Cluster{Client: r.local.GetClient(), Live: r.local.GetAPIReader()}
}

// State is what is known of a connection.
type State struct {
	Reachable bool
	Reason    v1alpha1.Reason // of the condition Available
	Message   string
	Version   string        // of the API server; empty: not known
	Latency   time.Duration // rounded up; 0: not known
	Since     time.Time     // when Reachable became as it is
}

// State returns what is known of a connection, and begins to probe it if nobody did. It does not wait: known
// is false until the first probe is over.
func (r *Registry) State(ctx context.Context, namespace, name string) (state State, known bool) {
	c, err := r.connect(ctx, types.NamespacedName{Namespace: namespace, Name: name})
	if err != nil {
		return State{Reason: err.Reason, Message: err.Why, Since: time.Now()}, err.Reason != ""
	}
	return c.lastState()
}

// Start follows connections and their Secrets until ctx ends, and returns when all that it started has
// ended. It must be called once.
func (r *Registry) Start(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer r.running.Wait()
	defer func() {
		cancel()
		r.mu.Lock() // who began something before that has counted it now, and nobody begins more
		defer r.mu.Unlock()
	}()
	if err := r.follow(ctx); err != nil {
		return fmt.Errorf("following ClusterConnections: %w", err)
	}
	<-ctx.Done()
	return nil
}

// changed tells everybody that a connection is not what it was. It must be called without r.mu.
func (r *Registry) changed(key types.NamespacedName) {
	r.refresh(key)
	r.o.ConnectionChanged(key.Namespace, key.Name)
}

// refresh tells those who show the state of a connection that it may have changed.
func (r *Registry) refresh(key types.NamespacedName) {
	r.mu.Lock()
	notify := r.notify
	r.mu.Unlock()
	for _, f := range notify {
		f(key)
	}
}

// onChange has f called after each change of a connection. f must not block.
func (r *Registry) onChange(f func(types.NamespacedName)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notify = append(r.notify[:len(r.notify):len(r.notify)], f)
}
