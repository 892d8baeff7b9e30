package etcd

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"gridrouter.io/deploy/etcd/inspect"
	"gridrouter.io/deploy/operator/etcd/observe"
	"gridrouter.io/deploy/operator/etcd/render"
)

// Access says how those members of a cluster are reached that have an address now, and which endpoint is whose. It is
// an error if there is none. It may be called at once.
func (r *Reconciler) Access(cluster types.NamespacedName) (access inspect.Access, names map[string]string, err error) {
	target, followed := r.options.Members.Target(cluster.String())
	if !followed || len(target.Endpoints) == 0 {
		return inspect.Access{}, nil, fmt.Errorf("no member of %s has an address yet", cluster.Name)
	}
	names = map[string]string{}
	for name, at := range target.Endpoints {
		names[at] = name
	}
	return accessOf(target), names, nil
}

// accessOf is a target as those know it who examine and maintain clusters.
func accessOf(target observe.Target) inspect.Access {
	access := inspect.Access{TLS: observe.Verifying(target.TLS, nil), User: target.Username, Password: target.Password, Metrics: map[string]string{}}
	for _, at := range target.Endpoints {
		access.Endpoints = append(access.Endpoints, at)
		if where, err := url.Parse(at); err == nil {
			access.Metrics[at] = "http://" + net.JoinHostPort(where.Hostname(), strconv.Itoa(render.MetricsPort)) + "/metrics"
		}
	}
	slices.SortFunc(access.Endpoints, strings.Compare)
	return access
}
