package fleet

import (
	"context"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/deploy/clusters"
	"gridrouter.io/deploy/operator/fleet/render"
	"gridrouter.io/deploy/operator/fleet/tables"
	"gridrouter.io/deploy/operator/fleet/vip"
)

// lagAfter is how long a router may be at what its peers have left before it lags.
const lagAfter = 8 * time.Second

// compare compares the tables of the ready routers, and puts what it found into the status.
func (w *world) compare(d *done) {
	var ready []tables.Router
	for i := range w.pods {
		if pod := &w.pods[i]; counts(pod) && isReady(pod) {
			ready = append(ready, tables.Router{Name: pod.Name, Since: readySince(pod)})
		}
	}
	w.judgement = tables.Judge(w.tables, ready, lagAfter, w.now)
	d.within(w.judgement.Again)
	w.synced = tables.Synced(w.tables, w.tablesKnown, w.judgement, w.now)
	if w.judgement.Told > 0 {
		w.fleet.Status.Table = &v1alpha1.TableStatus{RevisionLow: w.judgement.RevisionLow, RevisionHigh: w.judgement.RevisionHigh, Hashes: w.judgement.Hashes}
	}
}

func readySince(pod *corev1.Pod) time.Time {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.LastTransitionTime.Time
		}
	}
	return time.Time{}
}

// forward keeps the real servers of the fleet's VIP in step with its routers.
func (r *Reconciler) forward(ctx context.Context, w *world, d *done) error {
	provider := r.options.VIP(w.cluster, w.fleet)
	if w.fleet.Spec.Exposure.Type != v1alpha1.ExposureLVS {
		w.fleet.Status.RealServers = nil
		removeCondition(w.fleet, v1alpha1.ConditionVIPBound)
		if w.fleet.Spec.Paused || d.changed {
			return nil
		}
		return provider.Remove(ctx, w.fleet.Namespace, w.fleet.Name)
	}
	holder, err := r.holder(ctx, w.fleet)
	if err != nil {
		return err
	}
	var failed error
	exposure := &w.fleet.Spec.Exposure
	if holder == nil {
		servers, again := vip.RealServers(w.fleet.Status.RealServers, w.routers(), w.rules(), w.now)
		d.within(again)
		w.fleet.Status.RealServers = servers
		if !w.fleet.Spec.Paused {
			failed = provider.Apply(ctx, vip.VIP{
				Namespace: w.fleet.Namespace, Fleet: w.fleet.Name, Address: exposure.VIP, Scheduler: exposure.Scheduler, Mode: exposure.Mode, Servers: servers,
			})
		}
	} else {
		d.within(soon) // whether the other has gone is told by nobody
		w.fleet.Status.RealServers = nil
		failed = provider.Remove(ctx, w.fleet.Namespace, w.fleet.Name)
	}
	if failed != nil || holder != nil {
		d.within(soon) // nothing wakes the fleet when that is over
	}
	status, reason, message := vip.Bound(exposure.VIP, w.fleet.Status.RealServers, int(w.fleet.Status.Ready), holder, failed)
	v1alpha1.SetCondition(&w.fleet.Status.Conditions, w.fleet.Generation, v1alpha1.ConditionVIPBound, status, reason, clipped(message))
	return nil // the condition tells it, and it is tried again
}

// holder returns another fleet that has the same VIP and keeps it.
func (r *Reconciler) holder(ctx context.Context, fleet *v1alpha1.GridRouter) (*v1alpha1.GridRouter, error) {
	var all v1alpha1.GridRouterList
	// They are only looked at: to copy all fleets for each would be most of the work where they are many.
	if err := r.options.Client.List(ctx, &all, client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	return vip.Holder(fleet, all.Items), nil
}

// routers are the fleet's pods as LVS is to see them.
func (w *world) routers() []vip.Router {
	var all []vip.Router
	for i := range w.pods {
		pod := &w.pods[i]
		if pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded {
			continue
		}
		one := vip.Router{Name: pod.Name, Ready: isReady(pod), Lagging: slices.Contains(w.judgement.Lagging, pod.Name), Leaving: pod.DeletionTimestamp != nil}
		if one.Leaving && pod.DeletionGracePeriodSeconds != nil {
			one.LeaveBegan = pod.DeletionTimestamp.Add(-time.Duration(*pod.DeletionGracePeriodSeconds) * time.Second)
		}
		for _, ip := range pod.Status.PodIPs {
			one.Addresses = append(one.Addresses, ip.IP)
		}
		one.Ports = portsOf(pod)
		all = append(all, one)
	}
	return all
}

// portsOf are the listeners of a pod, which another revision may have given it.
func portsOf(pod *corev1.Pod) []int32 {
	var ports []int32
	for i := range pod.Spec.Containers {
		if pod.Spec.Containers[i].Name != render.Container {
			continue // somebody put it beside the router
		}
		for _, port := range pod.Spec.Containers[i].Ports {
			if port.ContainerPort != render.AdminPort && port.ContainerPort != render.HealthPort && port.Protocol == corev1.ProtocolTCP {
				ports = append(ports, port.ContainerPort)
			}
		}
	}
	return ports
}

func (w *world) rules() vip.Rules {
	spec := &w.fleet.Spec
	address, _ := netip.ParseAddr(spec.Exposure.VIP) // the API server has checked it; a wrong one has no servers
	wanted := int(w.wantedReplicas())
	away, err := intstr.GetScaledValueFromIntOrPercent(intstr.ValueOrDefault(spec.Disruption.MaxUnavailable, intstr.FromInt32(1)), wanted, true)
	if err != nil {
		away = 1
	}
	rules := vip.Rules{
		VIP: address, MustStay: max(1, wanted-away), Paused: spec.Paused,
		Drain: durationOf(spec.Drain.Delay, 5*time.Second) + durationOf(spec.Drain.Timeout, 30*time.Second),
	}
	for _, l := range spec.Listeners {
		rules.Ports = append(rules.Ports, l.Port)
	}
	return rules
}

func removeCondition(fleet *v1alpha1.GridRouter, kind v1alpha1.ConditionType) {
	fleet.Status.Conditions = slices.DeleteFunc(fleet.Status.Conditions, func(c metav1.Condition) bool { return c.Type == string(kind) })
}

// Keepalived renders VIPs for keepalived, into the cluster of each fleet.
func Keepalived(c clusters.Cluster, fleet *v1alpha1.GridRouter) vip.Provider {
	k := vip.Keepalived{Client: c.Client, Live: c.Live, FieldOwner: render.FieldOwner, Labels: render.LabelsOf(fleet.Name)}
	if !c.Remote {
		k.Owner = metav1.NewControllerRef(fleet, v1alpha1.SchemeGroupVersion.WithKind("GridRouter"))
	}
	return k
}
