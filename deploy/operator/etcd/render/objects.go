package render

import (
	"encoding/json"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"
	networkingv1ac "k8s.io/client-go/applyconfigurations/networking/v1"
	policyv1ac "k8s.io/client-go/applyconfigurations/policy/v1"

	v1alpha1ac "gridrouter.io/deploy/api/applyconfiguration/api/v1alpha1"
	"gridrouter.io/deploy/api/v1alpha1"
)

// ClientService leads clients to voters that serve.
func ClientService(c *v1alpha1.EtcdCluster) *corev1ac.ServiceApplyConfiguration {
	return corev1ac.Service(NamesOf(c.Name).Client, c.Namespace).WithLabels(LabelsOf(c.Name)).WithOwnerReferences(owner(c)).
		WithSpec(corev1ac.ServiceSpec().WithType(corev1.ServiceTypeClusterIP).WithSelector(map[string]string{LabelCluster: c.Name}).
			WithPorts(corev1ac.ServicePort().WithName("client").WithPort(ClientPort).WithTargetPort(intstr.FromString("client")).WithProtocol(corev1.ProtocolTCP)))
}

// PeerService gives members their names, before they are ready too: they find each other by them.
func PeerService(c *v1alpha1.EtcdCluster) *corev1ac.ServiceApplyConfiguration {
	port := func(name string, number int32) *corev1ac.ServicePortApplyConfiguration {
		return corev1ac.ServicePort().WithName(name).WithPort(number).WithTargetPort(intstr.FromString(name)).WithProtocol(corev1.ProtocolTCP)
	}
	return corev1ac.Service(NamesOf(c.Name).Peers, c.Namespace).WithLabels(LabelsOf(c.Name)).WithOwnerReferences(owner(c)).
		WithSpec(corev1ac.ServiceSpec().WithType(corev1.ServiceTypeClusterIP).WithClusterIP(corev1.ClusterIPNone).WithPublishNotReadyAddresses(true).
			WithSelector(map[string]string{LabelCluster: c.Name}).WithPorts(port("client", ClientPort), port("peer", PeerPort), port("metrics", MetricsPort)))
}

// DisruptionBudget keeps node drains from taking the majority away.
func DisruptionBudget(c *v1alpha1.EtcdCluster, minAvailable int) *policyv1ac.PodDisruptionBudgetApplyConfiguration {
	return policyv1ac.PodDisruptionBudget(NamesOf(c.Name).DisruptionBudget, c.Namespace).WithLabels(LabelsOf(c.Name)).WithOwnerReferences(owner(c)).
		WithSpec(policyv1ac.PodDisruptionBudgetSpec().WithMinAvailable(intstr.FromInt(minAvailable)).
			WithSelector(metav1ac.LabelSelector().WithMatchLabels(map[string]string{LabelCluster: c.Name})))
}

// NetworkPolicy lets only those reach the members whom spec.access names, the members themselves and the operator; nil:
// everybody may.
func NetworkPolicy(c *v1alpha1.EtcdCluster, operatorNamespace string) *networkingv1ac.NetworkPolicyApplyConfiguration {
	access := c.Spec.Access
	if access == nil {
		return nil
	}
	port := func(number int32) *networkingv1ac.NetworkPolicyPortApplyConfiguration {
		return networkingv1ac.NetworkPolicyPort().WithProtocol(corev1.ProtocolTCP).WithPort(intstr.FromInt32(number))
	}
	clients := networkingv1ac.NetworkPolicyIngressRule().WithPorts(port(ClientPort)).WithFrom(networkingv1ac.NetworkPolicyPeer().WithNamespaceSelector(selector(access.Namespaces)))
	for _, block := range access.CIDRs {
		clients.WithFrom(networkingv1ac.NetworkPolicyPeer().WithIPBlock(networkingv1ac.IPBlock().WithCIDR(string(block))))
	}
	members := networkingv1ac.NetworkPolicyIngressRule().WithPorts(port(ClientPort), port(PeerPort)).
		WithFrom(networkingv1ac.NetworkPolicyPeer().WithPodSelector(metav1ac.LabelSelector().WithMatchLabels(map[string]string{LabelCluster: c.Name})))
	operator := networkingv1ac.NetworkPolicyIngressRule().WithPorts(port(ClientPort), port(MetricsPort)).WithFrom(networkingv1ac.NetworkPolicyPeer().
		WithNamespaceSelector(metav1ac.LabelSelector().WithMatchLabels(map[string]string{corev1.LabelMetadataName: operatorNamespace})))
	return networkingv1ac.NetworkPolicy(NamesOf(c.Name).NetworkPolicy, c.Namespace).WithLabels(LabelsOf(c.Name)).WithOwnerReferences(owner(c)).
		WithSpec(networkingv1ac.NetworkPolicySpec().WithPodSelector(metav1ac.LabelSelector().WithMatchLabels(map[string]string{LabelCluster: c.Name})).
			WithPolicyTypes(networkingv1.PolicyTypeIngress).WithIngress(clients, members, operator))
}

func selector(s metav1.LabelSelector) *metav1ac.LabelSelectorApplyConfiguration {
	wanted := metav1ac.LabelSelector().WithMatchLabels(s.MatchLabels)
	for _, e := range s.MatchExpressions {
		wanted.WithMatchExpressions(metav1ac.LabelSelectorRequirement().WithKey(e.Key).WithOperator(e.Operator).WithValues(e.Values...))
	}
	return wanted
}

// Claim asks for the volume of a member, of the size that the spec says now: that only grows, and no member is restarted
// for it. It is the cluster's, not the member's, so that it outlives both where it is to.
// removed is when the member was removed; zero: it was not.
func Claim(c *v1alpha1.EtcdCluster, m *v1alpha1.EtcdMember, removed time.Time) *corev1ac.PersistentVolumeClaimApplyConfiguration {
	about := memberLabels(c.Name, m.Name)
	about[LabelOwner] = string(c.UID)
	spec := corev1ac.PersistentVolumeClaimSpec().WithAccessModes(corev1.ReadWriteOnce).
		WithResources(corev1ac.VolumeResourceRequirements().WithRequests(corev1.ResourceList{corev1.ResourceStorage: c.Spec.Storage.Size}))
	if c.Spec.Storage.ClassName != "" {
		spec.WithStorageClassName(c.Spec.Storage.ClassName)
	}
	claim := corev1ac.PersistentVolumeClaim(m.Name, c.Namespace).WithLabels(about).WithSpec(spec)
	if c.Spec.Storage.WhenDeleted == v1alpha1.VolumesDelete {
		claim.WithOwnerReferences(owner(c))
	}
	if !removed.IsZero() {
		claim.WithAnnotations(map[string]string{AnnotationRemoved: removed.UTC().Format(time.RFC3339)})
	}
	return claim
}

// Member is the record of a member, which stays until it was taken out of etcd.
func Member(c *v1alpha1.EtcdCluster, name string, seed bool, t *v1alpha1.EtcdMemberTemplate) *v1alpha1ac.EtcdMemberApplyConfiguration {
	template := &v1alpha1ac.EtcdMemberTemplateApplyConfiguration{}
	text, err := json.Marshal(t)
	if err == nil {
		err = json.Unmarshal(text, template)
	}
	if err != nil {
		panic("a template that cannot be written: " + err.Error()) // both have the same fields
	}
	return v1alpha1ac.EtcdMember(name, c.Namespace).WithLabels(memberLabels(c.Name, name)).WithFinalizers(Finalizer).WithOwnerReferences(owner(c)).
		WithSpec(v1alpha1ac.EtcdMemberSpec().WithCluster(c.Name).WithSeed(seed).WithTemplate(template))
}
