package etcd

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"

	"k8s.io/apimachinery/pkg/types"

	"gridrouter.io/deploy/etcd/inspect"
	"gridrouter.io/deploy/operator/etcd/render"
)

// Access says how those members of a cluster are reached that have an address now, and which endpoint is whose. It is
// an error if there is none. It may be called at once.
func (r *Reconciler) Access(cluster types.NamespacedName) (access inspect.Access, names map[string]string, err error) {
	target, followed := r.options.Members.Target(cluster.String())
	if !followed || len(target.Endpoints) == 0 {
		return inspect.Access{}, nil, fmt.Errorf("no member of %s has an address yet", cluster.Name)
	}
	access = inspect.Access{TLS: target.Dial(nil), User: target.Username, Password: target.Password, Metrics: map[string]string{}}
	names = map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(target.Endpoints)) {
		endpoint := target.Endpoints[name]
		at, err := url.Parse(endpoint)
		if err != nil {
			return inspect.Access{}, nil, fmt.Errorf("the address of %s: %w", name, err)
		}
		access.Endpoints, names[endpoint] = append(access.Endpoints, endpoint), name
		access.Metrics[endpoint] = "http://" + net.JoinHostPort(at.Hostname(), strconv.Itoa(render.MetricsPort)) + "/metrics"
	}
	return access, names, nil
}
