// Package render says what an EtcdCluster means in objects of Kubernetes. It is pure: the same spec gives the same
// objects.
//
// What a member runs is chosen out of the spec as a template, which is kept in its EtcdMember. A pod is made anew only
// where the hash of that is another, so that another version of this package, which renders otherwise, restarts no member.
package render

import (
	"fmt"
	"strings"

	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"

	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/deploy/etcd/member"
)

// FieldOwner owns what the operator applies.
const FieldOwner = "gridrouter-operator"

// Labels of a cluster's objects. They are part of selectors, and never change.
const (
	LabelCluster = "gridrouter.io/etcd-cluster"
	LabelMember  = "gridrouter.io/etcd-member"
	// LabelOwner is the UID of the EtcdCluster, on volumes' claims, which may outlive it.
	LabelOwner = "gridrouter.io/etcd-cluster-uid"
)

// Annotations of a cluster's objects.
const (
	// AnnotationTemplate, on a pod, is the hash of the template that it was made from.
	AnnotationTemplate = "gridrouter.io/etcd-template"
	// AnnotationJoined, on a pod, is MEMBER/CLUSTER, the ids in hexadecimal digits, once the member has begun: what runs
	// etcd refuses to start it without the data of these (docs/ETCD.md).
	AnnotationJoined = member.Joined
	// AnnotationTrust, on a pod, names the CAs that its etcd has read, which it does when it starts.
	AnnotationTrust = "gridrouter.io/etcd-trust"
	// AnnotationAlone, on a pod, names the recovery by which its member is made the only one of its cluster.
	AnnotationAlone = "gridrouter.io/etcd-alone"
	// AnnotationRemoved, on a volume's claim, is when its member was removed, as RFC 3339 has it.
	AnnotationRemoved = "gridrouter.io/etcd-removed"
)

// Finalizer keeps an EtcdMember until it was taken out of etcd.
const Finalizer = "gridrouter.io/etcd-member"

// ClientUser is whose certificate clients show. It is in the Secret CLUSTER.user.client.
const ClientUser = "client"

// Ports of a member.
const (
	ClientPort  = 2379
	PeerPort    = 2380
	MetricsPort = 2381 // metrics and health, without TLS
)

// Names are the names of a cluster's objects.
type Names struct {
	// Client is the Service for clients, Peers the headless one that gives members their names.
	Client, Peers                   string
	DisruptionBudget, NetworkPolicy string
}

// NamesOf returns the names of the objects of a cluster, whose name has at most 40 characters.
func NamesOf(cluster string) Names {
	return Names{
		Client: cluster + "-client", Peers: cluster + "-peers", DisruptionBudget: cluster + "-etcd", NetworkPolicy: cluster + "-etcd",
	}
}

// MemberName is the name of a member by its number.
func MemberName(cluster string, number int64) string { return fmt.Sprintf("%s-%d", cluster, number) }

// NumberOf is the number in a member's name; false: it is no name of a member of the cluster.
func NumberOf(cluster, member string) (int64, bool) {
	digits, found := strings.CutPrefix(member, cluster+"-")
	var number int64
	if !found || len(digits) == 0 || len(digits) > 18 || digits != "0" && digits[0] == '0' {
		return 0, false
	}
	for _, d := range []byte(digits) {
		if d < '0' || d > '9' {
			return 0, false
		}
		number = number*10 + int64(d-'0')
	}
	return number, true
}

// HostOf is the name of a member in DNS, as far as it is the same in every cluster.
func HostOf(c *v1alpha1.EtcdCluster, member string) string {
	return fmt.Sprintf("%s.%s.%s.svc", member, NamesOf(c.Name).Peers, c.Namespace)
}

// PeerURL is where a member listens to the others. It is also by what it is known before it has a name in etcd.
func PeerURL(c *v1alpha1.EtcdCluster, member string) string {
	return fmt.Sprintf("%s://%s:%d", scheme(c), HostOf(c, member), PeerPort)
}

// MemberOf is the name of the member that listens at a peer URL; empty: none of this cluster.
func MemberOf(c *v1alpha1.EtcdCluster, url string) string {
	for _, prefix := range []string{"https://", "http://"} {
		rest, found := strings.CutPrefix(url, prefix)
		name, _, _ := strings.Cut(rest, ".")
		if found && rest == fmt.Sprintf("%s:%d", HostOf(c, name), PeerPort) {
			if _, ours := NumberOf(c.Name, name); ours {
				return name
			}
		}
	}
	return ""
}

func scheme(c *v1alpha1.EtcdCluster) string {
	if c.Spec.TLS.Mode == v1alpha1.EtcdTLSOff {
		return "http"
	}
	return "https"
}

// LabelsOf are on every object of a cluster.
func LabelsOf(cluster string) map[string]string {
	return map[string]string{
		"app.kubernetes.io/name":       "etcd",
		"app.kubernetes.io/instance":   cluster,
		"app.kubernetes.io/component":  "etcd",
		"app.kubernetes.io/managed-by": FieldOwner,
		LabelCluster:                   cluster,
	}
}

func memberLabels(cluster, member string) map[string]string {
	all := LabelsOf(cluster)
	all[LabelMember] = member
	return all
}

func owner(c *v1alpha1.EtcdCluster) *metav1ac.OwnerReferenceApplyConfiguration {
	return metav1ac.OwnerReference().WithAPIVersion(v1alpha1.SchemeGroupVersion.String()).WithKind("EtcdCluster").WithName(c.Name).WithUID(c.UID).
		WithController(true).WithBlockOwnerDeletion(true)
}
