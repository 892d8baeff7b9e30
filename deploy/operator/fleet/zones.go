package fleet

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// How long, and of how many nodes, the zones of other clusters are remembered.
const (
	zoneLasts = 10 * time.Minute
	mostZones = 10000
)

// zones remembers in which zones the nodes of other clusters are. Those are in no cache, since a kubeconfig may
// be for one namespace alone; to ask for each node in each reconcile would take longer than all the rest.
type zones struct {
	mu    sync.Mutex
	known map[zoneKey]zone
}

type zoneKey struct{ namespace, connection, node string }

type zone struct {
	name  string
	until time.Time
}

// of returns the zone of a node; empty: it has none, or the operator may not know it.
func (z *zones) of(ctx context.Context, w *world, node string) (string, error) {
	if !w.cluster.Remote {
		return readZone(ctx, w.cluster.Client, node)
	}
	key := zoneKey{w.fleet.Namespace, w.fleet.Spec.Cluster, node}
	z.mu.Lock()
	known, there := z.known[key]
	z.mu.Unlock()
	if there && w.now.Before(known.until) {
		return known.name, nil
	}
	name, err := readZone(ctx, w.cluster.Client, node)
	if err != nil && !apierrors.IsForbidden(err) {
		return "", err
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	if len(z.known) >= mostZones {
		clear(z.known)
	}
	z.known[key] = zone{name, w.now.Add(zoneLasts)}
	return name, nil
}

func readZone(ctx context.Context, from client.Reader, node string) (string, error) {
	about := &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Node"}}
	if err := from.Get(ctx, client.ObjectKey{Name: node}, about); client.IgnoreNotFound(err) != nil {
		return "", fmt.Errorf("read node %s: %w", node, err)
	}
	return about.Labels[corev1.LabelTopologyZone], nil
}
