package operator

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gridrouter.io/deploy/clusters"
	"gridrouter.io/deploy/operator/etcd"
	"gridrouter.io/deploy/operator/etcd/observe"
	etcdrender "gridrouter.io/deploy/operator/etcd/render"
	"gridrouter.io/deploy/operator/etcd/tasks"
	"gridrouter.io/deploy/operator/fleet"
	"gridrouter.io/deploy/operator/fleet/render"
	"gridrouter.io/deploy/operator/fleet/tables"
	"gridrouter.io/deploy/operator/routermetrics"
)

// addParts adds what keeps fleets to the manager: the registry of clusters, what reads routers, the reconcilers.
func (o *operator) addParts() error {
	sampler := routermetrics.NewSampler(routermetrics.SamplerOptions{})
	pool := tables.NewPool(o.config.Log.Named("tables"), tables.Options{})
	var fleets *fleet.Reconciler
	registry := clusters.New(o.manager, clusters.Options{
		Watch: fleetKinds(), Select: ofFleets(), Wrap: o.leading.wrap, Namespaces: o.watched(),
		Changed: func(namespace, name string) { fleets.Changed(namespace, name) },
		ConnectionChanged: func(namespace, name string) {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			if err := fleets.ConnectionChanged(ctx, namespace, name); err != nil {
				o.config.Log.Warn("the fleets of a connection that changed could not be listed; they are looked at when their time is over", zap.Error(err))
			}
		},
		Log: o.manager.GetLogger().WithName("clusters"),
	})
	fleets = fleet.New(fleet.Options{
		Client: o.manager.GetClient(), Clusters: registry, Image: o.config.Image, Namespace: o.config.Namespace,
		Tables: pool, Metrics: sampler, Events: o.manager.GetEventRecorder("gridrouter-operator"),
		VIP: fleet.Keepalived,
	})
	for what, add := range map[string]func() error{
		"the registry of clusters":      func() error { return o.manager.Add(registry) },
		"what samples routers":          func() error { return o.manager.Add(sampler) },
		"what reads the tables":         func() error { return o.manager.Add(closing{pool}) },
		"the reconciler of connections": func() error { return clusters.NewReconciler(registry).SetupWithManager(o.manager) },
		"the metrics API":               func() error { return o.addMetricsAPI(sampler) },
		"the reconciler of fleets":      func() error { return fleets.SetupWithManager(o.manager) },
		"the reconciler of etcds":       o.addEtcds,
	} {
		if err := add(); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	return nil
}

// addEtcds adds what keeps etcd clusters: their cache, what asks their members, the reconciler.
func (o *operator) addEtcds() error {
	kept, reads, err := etcd.NewCache(o.manager, o.watched())
	if err != nil {
		return err
	}
	members := observe.NewPool(o.config.Log.Named("etcd"))
	if err := errors.Join(o.manager.Add(kept), o.manager.Add(closing{members})); err != nil {
		return err
	}
	defaults := etcdrender.Defaults{
		EtcdImage: o.config.EtcdImage, ToolsImage: o.config.ToolsImage, IPv6: strings.Contains(o.manager.GetConfig().Host, "["), // by which pods reach it
	}
	recorder := o.manager.GetEventRecorder("gridrouter-operator")
	etcds := etcd.New(etcd.Options{
		Client: reads, Live: o.manager.GetAPIReader(), Nodes: o.manager.GetClient(), Members: members, Namespace: o.config.Namespace,
		Defaults: defaults, Events: recorder,
	})
	acts := tasks.New(tasks.Options{Client: reads, Live: o.manager.GetAPIReader(), Access: etcds.Access, Events: recorder})
	return errors.Join(etcds.SetupWithManager(o.manager, kept), acts.SetupWithManager(o.manager, kept))
}

// closing closes a pool at the end.
type closing struct{ pool interface{ Close() } }

// Start waits for the end.
func (c closing) Start(ctx context.Context) error {
	<-ctx.Done()
	c.pool.Close()
	return nil
}

// fleetKinds are the kinds of objects that fleets have, and that are watched.
func fleetKinds() []client.Object {
	return []client.Object{
		&appsv1.Deployment{}, &appsv1.ControllerRevision{}, &corev1.Service{}, &corev1.ServiceAccount{}, &corev1.ConfigMap{}, &corev1.Pod{},
		&policyv1.PodDisruptionBudget{}, &autoscalingv2.HorizontalPodAutoscaler{}, &networkingv1.NetworkPolicy{},
	}
}

// ofFleets narrows caches to what has the label of a fleet. Whose fields are whose is kept of all but pods:
// the reconciler sees by that what it has applied.
func ofFleets() map[client.Object]cache.ByObject {
	labelled, err := labels.NewRequirement(render.LabelFleet, selection.Exists, nil)
	if err != nil {
		panic(err) // the label is written in the code
	}
	all := map[client.Object]cache.ByObject{}
	for _, kind := range fleetKinds() {
		narrow := cache.ByObject{Label: labels.NewSelector().Add(*labelled), Transform: func(o any) (any, error) { return o, nil }}
		if _, pod := kind.(*corev1.Pod); pod {
			narrow.Transform = cache.TransformStripManagedFields()
		}
		all[kind] = narrow
	}
	return all
}
