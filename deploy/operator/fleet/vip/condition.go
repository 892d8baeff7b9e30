package vip

import (
	"cmp"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gridrouter.io/deploy/api/v1alpha1"
)

// Holder returns the fleet among all of a management cluster that has the same VIP as this one and keeps
// it; nil: it is this one. The older fleet keeps it, but for one that took it later, from another way to be
// exposed: who was let have it first goes before who was not.
func Holder(fleet *v1alpha1.GridRouter, all []v1alpha1.GridRouter) *v1alpha1.GridRouter {
	own := canonical(fleet.Spec.Exposure.VIP)
	holder := fleet
	for i := range all {
		other := &all[i]
		if other.Spec.Exposure.Type != v1alpha1.ExposureLVS || !own.IsValid() || canonical(other.Spec.Exposure.VIP) != own {
			continue
		}
		if other.UID != fleet.UID && before(other, holder) {
			holder = other
		}
	}
	if holder == fleet {
		return nil
	}
	return holder
}

func before(a, b *v1alpha1.GridRouter) bool {
	return cmp.Or(
		cmp.Compare(rank(!has(a)), rank(!has(b))),
		a.CreationTimestamp.Compare(b.CreationTimestamp.Time),
		cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.UID, b.UID),
	) < 0
}

// has says whether a fleet was let have its VIP.
func has(fleet *v1alpha1.GridRouter) bool {
	bound := meta.FindStatusCondition(fleet.Status.Conditions, string(v1alpha1.ConditionVIPBound))
	return bound != nil && bound.Reason != string(v1alpha1.ReasonVIPInUse)
}

// Bound says whether LVS forwards a VIP to a fleet. ready is how many of its routers are ready; holder is
// what [Holder] says, err what the [Provider] said.
func Bound(vip string, servers []v1alpha1.RealServer, ready int, holder *v1alpha1.GridRouter, err error) (metav1.ConditionStatus, v1alpha1.Reason, string) {
	addresses := map[string]bool{}
	for _, server := range servers {
		if at, ok := split(server.Address); ok && server.Weight > 0 {
			addresses[at.Addr().String()] = true
		}
	}
	switch n := len(addresses); {
	case holder != nil:
		return metav1.ConditionFalse, v1alpha1.ReasonVIPInUse, fmt.Sprintf(
			"the fleet %s in namespace %s has %s already: choose another exposure.vip, or delete that fleet", holder.Name, holder.Namespace, vip)
	case err != nil:
		return metav1.ConditionFalse, v1alpha1.ReasonProviderFailed, cut(err.Error())
	case ready == 0 || n == 0:
		return metav1.ConditionFalse, v1alpha1.ReasonNoRealServers, "no router is ready: see the conditions Available and Progressing"
	case n < ready && len(servers)+1 >= MaxRealServers:
		return metav1.ConditionTrue, v1alpha1.ReasonBound, fmt.Sprintf(
			"%d of %d ready routers are forwarded to: a VIP has at most %d real servers, one for each router and listener", n, ready, MaxRealServers)
	default:
		return metav1.ConditionTrue, v1alpha1.ReasonBound, vip + " is forwarded to the routers that are ready"
	}
}

// cut keeps a message to what a condition may have.
func cut(text string) string {
	const most = 1024
	if len(text) <= most {
		return text
	}
	return text[:most]
}
