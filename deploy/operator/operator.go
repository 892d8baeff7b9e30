// Package operator is the process that keeps router fleets at what their GridRouter objects say: the manager
// with its scheme, election, health, metrics and limits, to which the reconcilers are added.
package operator

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/go-logr/zapr"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	corev1 "k8s.io/api/core/v1"
)

// LeaseName is the Lease that the leading operator holds, in its own namespace. All versions know it by this
// name, so that during an upgrade one of them leads, old or new.
const LeaseName = "gridrouter-operator"

// Limits of the operator towards an API server, in requests per second, unless the rest.Config sets its own.
const (
	defaultQPS   = 200
	defaultBurst = 400
)

// stopWithin is how long reconciles in flight may take once the operator stops. The Deployment in
// deploy/manifests grants a little more.
const stopWithin = 20 * time.Second

// Config says how an operator runs.
type Config struct {
	// Kubernetes says how the API server is reached. Run copies it.
	Kubernetes *rest.Config
	// Namespace is the operator's own; its Lease is there.
	Namespace string
	// Watch are the namespaces whose fleets are kept; none: all of the cluster.
	Watch []string
	// Image is what fleets without an image of their own run, without a tag.
	Image string
	// EtcdImage is what etcd clusters without an image of their own run, without a tag.
	EtcdImage string
	// ToolsImage is an image of gridrouter, with its tag, that runs beside etcd in its pods.
	ToolsImage string
	// Election says how fast an operator that is gone is replaced.
	Election Election
	// Health serves /healthz and /readyz, Metrics serves /metrics, MetricsAPI the aggregated API for
	// autoscalers. Run closes them. Each may be nil, and is not served then.
	Health, Metrics, MetricsAPI net.Listener
	// Address is the operator's own IP address, at which the metrics API is found while it leads. Empty:
	// nobody is told of it.
	Address string
	// Collectors are shown at /metrics beside those of the operator.
	Collectors []prometheus.Collector
	// Log gets what the operator has to say.
	Log *zap.Logger
}

// Election holds the times of the leader election. A leader that cannot renew its Lease for Renew stops; another
// operator takes a Lease that was not renewed for Duration. Both try every Retry.
type Election struct {
	Duration, Renew, Retry time.Duration
}

// Check says what is wrong with the times.
func (e Election) Check() error {
	if e.Retry <= 0 {
		return fmt.Errorf("an operator tries for its Lease every %v; give a time above 0", e.Retry)
	}
	if e.Renew <= e.Retry*12/10 { // tries are spread by up to 20 %
		return fmt.Errorf("a leader that gives up after %v would not try twice; give more than 1.2 times the %v between two tries", e.Renew, e.Retry)
	}
	if e.Duration <= e.Renew {
		return fmt.Errorf("a Lease of %v would end before its leader stops, after %v, and two would lead; give the Lease more", e.Duration, e.Renew)
	}
	if e.Duration < time.Second {
		return fmt.Errorf("a Lease of %v cannot be written down; give whole seconds", e.Duration)
	}
	return nil
}

// Run runs an operator until ctx ends, which is no error, or until it cannot go on, such as when it lost its
// Lease. It stands by while another one leads, and gives its Lease back at the end, so that the next one leads
// at once. The process should end when Run has returned.
func Run(ctx context.Context, c Config) error {
	o, err := newOperator(c)
	if err != nil {
		return errors.Join(err, c.closeListeners())
	}
	c.Log.Info("operator starts", zap.String("namespace", c.Namespace), zap.Strings("watch", c.Watch),
		zap.String("image", c.Image), zap.String("server", c.Kubernetes.Host))
	return errors.Join(o.manager.Start(ctx), c.closeListeners())
}

// operator is what Run puts together.
type operator struct {
	config    Config
	manager   manager.Manager
	registry  *prometheus.Registry
	leading   *leading
	forbidden *forbidden
	synced    syncState
}

func newOperator(c Config) (*operator, error) {
	if err := c.Election.Check(); err != nil {
		return nil, err
	}
	o := &operator{config: c, registry: prometheus.NewRegistry()}
	o.leading, o.forbidden = newLeading(c.Namespace, c.Election.Renew, o.registry), newForbidden(c.Log, o.registry)
	for _, collector := range c.Collectors {
		if err := o.registry.Register(collector); err != nil {
			return nil, err
		}
	}
	options, err := o.options()
	if err != nil {
		return nil, err
	}
	if o.manager, err = manager.New(o.kubernetes(), options); err != nil {
		return nil, fmt.Errorf("%w; name an API server by --kubeconfig, or run in a cluster", err)
	}
	for _, add := range []func() error{o.addServers, o.addParts} {
		if err := add(); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// kubernetes returns how the API server is reached: within limits, for writes while this operator leads, and with
// a word where something is forbidden.
func (o *operator) kubernetes() *rest.Config {
	kubernetes := o.standby()
	kubernetes.Wrap(o.leading.wrap)
	return kubernetes
}

// standby is the same for what standbys write, too: it must be of the kind that several may write at once.
func (o *operator) standby() *rest.Config {
	kubernetes := rest.CopyConfig(o.config.Kubernetes)
	if kubernetes.QPS == 0 {
		kubernetes.QPS, kubernetes.Burst = defaultQPS, defaultBurst
	}
	kubernetes.UserAgent = "gridrouter-operator"
	kubernetes.Wrap(o.forbidden.wrap)
	return kubernetes
}

func (o *operator) options() (manager.Options, error) {
	scheme, err := NewScheme()
	if err != nil {
		return manager.Options{}, err
	}
	within, election := stopWithin, o.config.Election
	many := true
	return manager.Options{
		Scheme: scheme,
		Logger: zapr.NewLogger(o.config.Log),
		Cache:  cache.Options{DefaultNamespaces: o.watched(), DefaultTransform: cache.TransformStripManagedFields(), ByObject: ofFleets()},
		// Secrets are read one by one, when they are needed; only those with kubeconfigs are kept in memory.
		Client:                        client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}}}},
		LeaderElection:                true,
		LeaderElectionID:              LeaseName,
		LeaderElectionNamespace:       o.config.Namespace,
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 &election.Duration,
		RenewDeadline:                 &election.Renew,
		RetryPeriod:                   &election.Retry,
		GracefulShutdownTimeout:       &within,
		Metrics:                       metricsserver.Options{BindAddress: "0"}, // served by addServers, which tells of listeners' faults at once
		Controller:                    config.Controller{SkipNameValidation: &many},
	}, nil
}

// watched returns the namespaces that are cached; nil: all.
func (o *operator) watched() map[string]cache.Config {
	if len(o.config.Watch) == 0 {
		return nil
	}
	watched := map[string]cache.Config{}
	for _, namespace := range o.config.Watch {
		watched[namespace] = cache.Config{}
	}
	return watched
}

// closeListeners closes what Run was to serve, where no server has done so.
func (c *Config) closeListeners() error {
	var problems []error
	for _, l := range []net.Listener{c.Health, c.Metrics, c.MetricsAPI} {
		if l == nil {
			continue
		}
		if err := l.Close(); !errors.Is(err, net.ErrClosed) {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}
