package render

import (
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"
	networkingv1ac "k8s.io/client-go/applyconfigurations/networking/v1"
)

// NetworkPolicy lets only those reach the routers whom spec.access names, and the operator; nil: everybody
// may. Whom it names may ask for readiness too, as the health checks of balancers do.
func NetworkPolicy(o Owner, operatorNamespace string) *networkingv1ac.NetworkPolicyApplyConfiguration {
	access := o.Fleet.Spec.Access
	if access == nil {
		return nil
	}
	port := func(number int32) *networkingv1ac.NetworkPolicyPortApplyConfiguration {
		return networkingv1ac.NetworkPolicyPort().WithProtocol(corev1.ProtocolTCP).WithPort(intstr.FromInt32(number))
	}
	clients := networkingv1ac.NetworkPolicyIngressRule().WithFrom(networkingv1ac.NetworkPolicyPeer().WithNamespaceSelector(selector(access.Namespaces))).WithPorts(port(HealthPort))
	for _, l := range o.Fleet.Spec.Listeners {
		clients.WithPorts(port(l.Port))
	}
	for _, block := range access.CIDRs {
		clients.WithFrom(networkingv1ac.NetworkPolicyPeer().WithIPBlock(networkingv1ac.IPBlock().WithCIDR(string(block))))
	}
	operator := networkingv1ac.NetworkPolicyIngressRule().WithPorts(port(AdminPort), port(HealthPort)).WithFrom(networkingv1ac.NetworkPolicyPeer().
		WithNamespaceSelector(metav1ac.LabelSelector().WithMatchLabels(map[string]string{corev1.LabelMetadataName: operatorNamespace})))
	return networkingv1ac.NetworkPolicy(NamesOf(o.Fleet.Name).NetworkPolicy, o.Fleet.Namespace).WithLabels(labels(o.Fleet.Name)).
		WithOwnerReferences(o.references()...).WithSpec(networkingv1ac.NetworkPolicySpec().
		WithPodSelector(metav1ac.LabelSelector().WithMatchLabels(map[string]string{LabelFleet: o.Fleet.Name})).
		WithPolicyTypes(networkingv1.PolicyTypeIngress).WithIngress(clients, operator))
}

func selector(s metav1.LabelSelector) *metav1ac.LabelSelectorApplyConfiguration {
	wanted := metav1ac.LabelSelector().WithMatchLabels(s.MatchLabels)
	for _, e := range s.MatchExpressions {
		wanted.WithMatchExpressions(metav1ac.LabelSelectorRequirement().WithKey(e.Key).WithOperator(e.Operator).WithValues(e.Values...))
	}
	return wanted
}
