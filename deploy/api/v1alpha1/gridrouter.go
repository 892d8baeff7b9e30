package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// GridRouter is a fleet: routers that follow the same prefix in etcd, and are deployed, scaled, upgraded
// and healed together.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=gr,categories=grid
// +kubebuilder:subresource:status
// +kubebuilder:subresource:scale:specpath=.spec.replicas,statuspath=.status.replicas,selectorpath=.status.selector
// +kubebuilder:printcolumn:name="Version",type=string,JSONPath=".status.versions.current",description="The version that all routers of the last complete rollout run."
// +kubebuilder:printcolumn:name="Target",type=string,JSONPath=".status.versions.target",description="The version that is being rolled out."
// +kubebuilder:printcolumn:name="Replicas",type=integer,JSONPath=".status.replicas",description="How many routers there are."
// +kubebuilder:printcolumn:name="Ready",type=integer,JSONPath=".status.ready",description="How many of them are ready."
// +kubebuilder:printcolumn:name="Updated",type=integer,JSONPath=".status.updated",description="How many of them are of the target revision."
// +kubebuilder:printcolumn:name="Available",type=string,JSONPath=".status.conditions[?(@.type==\"Available\")].status",description="Whether enough routers are ready."
// +kubebuilder:printcolumn:name="Progress",type=string,JSONPath=".status.conditions[?(@.type==\"Progressing\")].reason",description="What is going on."
// +kubebuilder:printcolumn:name="Degraded",type=string,JSONPath=".status.conditions[?(@.type==\"Degraded\")].reason",description="What is wrong, or AsExpected.",priority=1
// +kubebuilder:printcolumn:name="Canary",type=integer,JSONPath=".status.canary.percent",description="The share of routers that are canaries, in percent.",priority=1
// +kubebuilder:printcolumn:name="VIP",type=string,JSONPath=".spec.exposure.vip",description="The virtual IP by which LVS reaches the fleet.",priority=1
// +kubebuilder:printcolumn:name="Cluster",type=string,JSONPath=".spec.cluster",description="The ClusterConnection to where the routers run.",priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=".metadata.creationTimestamp"
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 50 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",message="metadata.name must be at most 50 of a-z, 0-9 and -, and begin with a letter, because the fleet's Services and pods are named after it: choose such a name"
type GridRouter struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// What the fleet is to be.
	// +required
	Spec GridRouterSpec `json:"spec"`
	// What the fleet is, as the operator saw it last.
	// +optional
	Status GridRouterStatus `json:"status,omitzero"`
}

// GridRouterList is a list of fleets.
//
// +kubebuilder:object:root=true
type GridRouterList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []GridRouter `json:"items"`
}

// GridRouterSpec is what a fleet is to be.
//
// +kubebuilder:validation:XValidation:rule="has(self.replicas) || has(self.autoscaling)",message="say how many routers the fleet has: set replicas, or autoscaling"
// +kubebuilder:validation:XValidation:rule="!(has(self.replicas) && has(self.autoscaling))",message="replicas and autoscaling exclude each other: remove one of them"
// +kubebuilder:validation:XValidation:rule="!has(self.autoscaling) || !has(self.autoscaling.cpuPercent) || (has(self.resources) && ((has(self.resources.requests) && 'cpu' in self.resources.requests) || (has(self.resources.limits) && 'cpu' in self.resources.limits)))",message="autoscaling.cpuPercent is a share of what a router requests: set resources.requests.cpu"
// +kubebuilder:validation:XValidation:rule="!has(self.cluster) || self.cluster.size() == 0 || !has(self.etcd) || !has(self.etcd.cluster)",message="etcd.cluster names an EtcdCluster where the operator runs, which routers of another Kubernetes cluster do not find: name the members in etcd.endpoints"
type GridRouterSpec struct {
	// The version of the routers: the tag of the image. A change rolls the fleet over. There is no
	// default, so that a new operator never changes a fleet.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9_][A-Za-z0-9._-]*$')",message="version is the tag of an image: write one such as 1.4.0, of letters, digits, '_', '.' and '-'"
	Version string `json:"version"`

	// The image of the routers without a tag, such as registry.example/gridrouter. Default: the
	// operator's own.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:XValidation:rule="!self.matches('(:[^/]*|@.*)$')",message="image holds a tag or a digest: write the tag into version, and only the name here"
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([a-z0-9._:@/-]*[a-z0-9])?$')",message="image must be a name such as registry.example:5000/team/gridrouter, in lower case"
	Image string `json:"image,omitempty"`

	// How many routers there are, from 0 to 1000; 0 stops the fleet. Excludes autoscaling; one of both
	// must be set. It is what the scale subresource reads and writes; under autoscaling that has nothing
	// to read.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	Replicas *int32 `json:"replicas,omitempty"`

	// How the number of routers follows the load. Excludes replicas; one of both must be set.
	// +optional
	Autoscaling *Autoscaling `json:"autoscaling,omitempty"`

	// The etcd whose documents the fleet follows.
	// +required
	Etcd EtcdSource `json:"etcd"`

	// What all keys of the fleet in etcd begin with; begins and ends with "/".
	// +optional
	// +kubebuilder:default="/gridrouter/"
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule="self.matches('^(/[^/]+)+/$')",message="prefix must begin and end with \"/\", with a name between every two of them: write one such as /gridrouter/"
	Prefix string `json:"prefix,omitempty"`

	// Where routers take requests: from 1 to 16 ports. The fleet's Service has the same ports.
	// +optional
	// +kubebuilder:default={{name: "http", port: 8080}}
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:XValidation:rule="self.all(l, self.exists_one(other, other.port == l.port))",message="two listeners have the same port: give each its own"
	// +listType=map
	// +listMapKey=name
	Listeners []Listener `json:"listeners,omitempty"`

	// How routers resolve decks on the mesh.
	// +optional
	GSLB GSLB `json:"gslb,omitzero"`

	// What a router requests and may use, as in a pod. Default: nothing is requested, nothing limited.
	// +optional
	// +kubebuilder:validation:XValidation:rule="!has(self.claims)",message="a router uses no claimed devices: remove claims"
	// +kubebuilder:validation:XValidation:rule="!has(self.requests) || !has(self.limits) || ['cpu', 'memory'].all(r, !(r in self.requests) || !(r in self.limits) || quantity(string(self.requests[r])).compareTo(quantity(string(self.limits[r]))) <= 0)",message="more is requested of cpu or memory than the limit allows: lower requests, or raise limits"
	Resources corev1.ResourceRequirements `json:"resources,omitzero"`

	// Where routers run.
	// +optional
	// +kubebuilder:default={}
	Placement Placement `json:"placement,omitzero"`

	// Who may reach the fleet. Default: everybody.
	// +optional
	Access *Access `json:"access,omitempty"`

	// How many routers node drains and the like may take away at once.
	// +optional
	// +kubebuilder:default={}
	Disruption Disruption `json:"disruption,omitzero"`

	// How a change of the routers is brought to the fleet.
	// +optional
	// +kubebuilder:default={}
	Rollout Rollout `json:"rollout,omitzero"`

	// A revision in status.history. While it is not 0, the fleet runs that revision instead of the one
	// that the rest of the spec describes. From 0 on; 0: none.
	// +optional
	// +kubebuilder:default=0
	// +kubebuilder:validation:Minimum=0
	RollbackTo int64 `json:"rollbackTo,omitempty"`

	// How a router leaves.
	// +optional
	// +kubebuilder:default={}
	Drain Drain `json:"drain,omitzero"`

	// How clients reach the fleet.
	// +optional
	// +kubebuilder:default={}
	Exposure Exposure `json:"exposure,omitzero"`

	// Other flags of "gridrouter serve", each as --flag=value and at most once; at most 32.
	// +optional
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:XValidation:rule="self.all(a, self.exists_one(other, other.split('=', 2)[0] == a.split('=', 2)[0]))",message="a flag is given twice: write each once"
	// +listType=atomic
	Args []Arg `json:"args,omitempty"`

	// While it is true, the operator changes nothing of the fleet and only reports.
	// +optional
	// +kubebuilder:default=false
	Paused bool `json:"paused,omitempty"`

	// The ClusterConnection, in the same namespace, to the cluster where the routers run; empty: the one
	// where the operator runs. It cannot be changed.
	// +optional
	// +kubebuilder:default=""
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="cluster cannot be changed: make a new GridRouter there, move the clients to it, and delete this one"
	// +kubebuilder:validation:XValidation:rule="self.size() == 0 || self.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$')",message="cluster must be the name of a ClusterConnection: lower-case letters, digits, '-' and '.'"
	Cluster string `json:"cluster,omitempty"`
}

// Autoscaling says how the number of routers follows the load.
//
// +kubebuilder:validation:XValidation:rule="self.min <= self.max",message="min is above max: lower min, or raise max"
// +kubebuilder:validation:XValidation:rule="has(self.cpuPercent) || has(self.requestsPerSecond)",message="there is nothing to scale by: set cpuPercent, requestsPerSecond, or both"
type Autoscaling struct {
	// The least number of routers, from 1 to 1000.
	// +optional
	// +kubebuilder:default=2
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	Min int32 `json:"min,omitempty"`
	// The greatest number of routers, from 1 to 1000.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	Max int32 `json:"max"`
	// The CPU time that a router is to use, in percent of what it requests, from 1 to 1000. Default: CPU
	// time is not looked at.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	CPUPercent *int32 `json:"cpuPercent,omitempty"`
	// The requests per second that one router is to serve, from 1 to 10000000. Default: requests are not
	// looked at. Where both are set, the greater number of routers wins.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000000
	RequestsPerSecond *int32 `json:"requestsPerSecond,omitempty"`
}

// EtcdSource names an etcd.
//
// +kubebuilder:validation:XValidation:rule="!(has(self.cluster) && has(self.endpoints))",message="etcd.cluster and etcd.endpoints exclude each other: remove one of them"
// +kubebuilder:validation:XValidation:rule="has(self.cluster) || has(self.endpoints)",message="no etcd is named: set etcd.cluster, or name the members in etcd.endpoints"
// +kubebuilder:validation:XValidation:rule="!has(self.secret) || has(self.endpoints)",message="etcd.secret belongs to etcd.endpoints: name the members there, or remove the secret"
type EtcdSource struct {
	// The name of an EtcdCluster in the same namespace. Its Service and the certificate of its clients reach the routers
	// by themselves. Excludes endpoints.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Cluster string `json:"cluster,omitempty"`
	// The URLs of etcd's members, such as http://10.0.0.1:2379; from 1 to 16. Excludes cluster.
	// +optional
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +listType=set
	Endpoints []EtcdEndpoint `json:"endpoints,omitempty"`
	// The Secret, in the same namespace, with what etcd asks for; each key may be absent: ca.crt, the
	// authorities that members are checked against; tls.crt and tls.key, the certificate that is shown to
	// them; username and password. Default: none.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$')",message="etcd.secret must be the name of a Secret: lower-case letters, digits, '-' and '.'"
	Secret string `json:"secret,omitempty"`
}

// EtcdEndpoint is the URL of a member of etcd, with its port.
//
// +kubebuilder:validation:MaxLength=300
// +kubebuilder:validation:XValidation:rule="self.matches('^https?://([A-Za-z0-9._-]+|\\\\[[0-9A-Fa-f:.]+\\\\]):[0-9]{1,5}/?$')",message="an endpoint must be the URL of a member with its port: write http://HOST:PORT or https://HOST:PORT"
type EtcdEndpoint string

// Listener is a port at which each router takes requests.
type Listener struct {
	// The listener's name, which its port has in the pods; at most 15 characters. The port of the Service is
	// named by its number: http-8080, or https-8443 with a tlsSecret.
	// +required
	// +kubebuilder:validation:MaxLength=15
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]+(-[a-z0-9]+)*$') && self.matches('[a-z]')",message="a listener's name must be the name of a port: at most 15 of a-z, 0-9 and single '-' between them, with a letter among them, such as http"
	Name string `json:"name"`
	// The port, from 1 to 65535. 9901 and 9902 are taken, by the admin endpoints and by health.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	// +kubebuilder:validation:XValidation:rule="!(self in [9901, 9902])",message="ports 9901 and 9902 belong to the routers' admin endpoints and health: choose another"
	Port int32 `json:"port"`
	// The Secret of type kubernetes.io/tls, in the same namespace, with the certificate that the listener
	// shows. Set: HTTP/1.1 over TLS. Default: no TLS. All TLS listeners of a fleet share their
	// certificates; the name that a client gives (SNI) chooses among them.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$')",message="tlsSecret must be the name of a Secret: lower-case letters, digits, '-' and '.'"
	TLSSecret string `json:"tlsSecret,omitempty"`
}

// GSLB says how routers resolve decks on the mesh.
type GSLB struct {
	// DNS servers, each IP or IP:port; at most 8. Default: those of the pod.
	// +optional
	// +kubebuilder:validation:MaxItems=8
	// +listType=set
	Servers []DNSServer `json:"servers,omitempty"`
}

// DNSServer is the address of a DNS server: IP, IP:port or [IPv6]:port. Without a port it is 53.
//
// +kubebuilder:validation:MaxLength=64
// +kubebuilder:validation:XValidation:rule="isIP(self) || (self.matches(':[0-9]{1,5}$') && int(self.substring(self.lastIndexOf(':') + 1)) >= 1 && int(self.substring(self.lastIndexOf(':') + 1)) <= 65535 && (self.matches('^[0-9.]+:[0-9]+$') ? isIP(self.split(':')[0]) : self.matches('^\\\\[[0-9A-Fa-f]*:[0-9A-Fa-f:.]+\\\\]:[0-9]+$') && isIP(self.substring(1, self.lastIndexOf(']')))))",message="a DNS server must be an address, not a name: write one such as 10.96.0.53, 10.96.0.53:53 or [fd00::53]:53"
type DNSServer string

// Arg is a flag of "gridrouter serve" with its value: --flag=value. Flags that the operator sets are
// refused; [ManagedFlags] has them.
//
// +kubebuilder:validation:MaxLength=1024
// +kubebuilder:validation:XValidation:rule="self.matches('^--[a-z][a-z0-9-]*=')",message="an item of args must be a flag with its value: write --flag=value"
// +kubebuilder:validation:XValidation:rule="!self.matches('^--(listen|listen-tls|tls-cert)(=|$)')",message="--listen, --listen-tls and --tls-cert may not stand in args: use listeners"
// +kubebuilder:validation:XValidation:rule="!self.matches('^--(etcd|etcd-cert|etcd-key|etcd-ca|etcd-user|etcd-password-file|routes)(=|$)')",message="where documents come from may not stand in args: use etcd"
// +kubebuilder:validation:XValidation:rule="!self.matches('^--prefix(=|$)')",message="--prefix may not stand in args: use prefix"
// +kubebuilder:validation:XValidation:rule="!self.matches('^--gslb(=|$)')",message="--gslb may not stand in args: use gslb.servers"
// +kubebuilder:validation:XValidation:rule="!self.matches('^--(drain-delay|drain-timeout)(=|$)')",message="--drain-delay and --drain-timeout may not stand in args: use drain"
// +kubebuilder:validation:XValidation:rule="!self.matches('^--(admin|admin-token-file|health|snapshot|router-id|config)(=|$)')",message="--admin, --admin-token-file, --health, --snapshot, --router-id and --config are set by the operator alone: remove the flag from args"
type Arg string

// Placement says where routers run.
type Placement struct {
	// How routers are spread over zones (nodes with the same label topology.kubernetes.io/zone) and
	// hosts. spread: as evenly as the nodes allow. strict: evenly over zones; a router waits rather than
	// stand where there are more already. any: as the scheduler likes.
	// +optional
	// +kubebuilder:default=spread
	Zones ZoneSpread `json:"zones,omitempty"`
	// Labels that a node must have to run routers; at most 32. Default: any node.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	NodeSelector map[string]string `json:"nodeSelector,omitempty"`
	// Taints of nodes that routers tolerate, as in a pod; at most 32. Default: none.
	// +optional
	// +kubebuilder:validation:MaxItems=32
	// +listType=atomic
	Tolerations []corev1.Toleration `json:"tolerations,omitempty"`
	// The PriorityClass of the routers' pods. Default: the cluster's.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.size() == 0 || self.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$')",message="priorityClass must be the name of a PriorityClass: lower-case letters, digits, '-' and '.'"
	PriorityClass string `json:"priorityClass,omitempty"`
}

// ZoneSpread says how routers are spread over zones and hosts.
//
// +kubebuilder:validation:Enum=spread;strict;any
type ZoneSpread string

// The ways to spread routers.
const (
	ZonesSpread ZoneSpread = "spread" // as evenly as the nodes allow
	ZonesStrict ZoneSpread = "strict" // evenly over zones, or not at all
	ZonesAny    ZoneSpread = "any"    // as the scheduler likes
)

// Access says who may reach the fleet's listeners. It becomes a NetworkPolicy, which the cluster's
// network must enforce.
type Access struct {
	// The namespaces whose pods may reach the fleet; {} selects all.
	// +required
	// +kubebuilder:validation:XValidation:rule="!has(self.matchExpressions) || self.matchExpressions.all(e, e.operator in ['In', 'NotIn'] ? has(e.values) && e.values.size() > 0 : e.operator in ['Exists', 'DoesNotExist'] && (!has(e.values) || e.values.size() == 0))",message="an operator must be In or NotIn with values, or Exists or DoesNotExist without: correct matchExpressions"
	Namespaces metav1.LabelSelector `json:"namespaces"`
	// Addresses outside the cluster that may reach it too, as CIDRs, such as those of a VIP's clients; at
	// most 32. Default: none.
	// +optional
	// +kubebuilder:validation:MaxItems=32
	// +listType=set
	CIDRs []CIDR `json:"cidrs,omitempty"`
}

// CIDR is a block of addresses, such as 10.9.0.0/16.
//
// +kubebuilder:validation:MaxLength=64
// +kubebuilder:validation:XValidation:rule="isCIDR(self) && cidr(self) == cidr(self).masked()",message="a CIDR must be a block of addresses without bits behind its length: write one such as 10.9.0.0/16"
type CIDR string

// Disruption bounds what node drains and the like may take away. It becomes a PodDisruptionBudget.
type Disruption struct {
	// How many routers may be away at once, a number from 1 to 1000 or a share such as 25%. 0 would let
	// no node be drained, and is refused.
	// +optional
	// +kubebuilder:default=1
	// +kubebuilder:validation:XValidation:rule="type(self) == int ? int(self) >= 1 && int(self) <= 1000 : string(self).matches('^([1-9][0-9]?|100)%$')",message="disruption.maxUnavailable must be at least 1, else no node can be drained: write a number from 1 to 1000, or a share such as 25%"
	MaxUnavailable *intstr.IntOrString `json:"maxUnavailable,omitempty"`
}

// Drain says how a router leaves: it is not ready at once; for Delay it serves everything, for balancers
// to notice; then requests in flight may take until Timeout. The grace period of its pod is the sum and
// a few seconds more.
//
// +kubebuilder:validation:XValidation:rule="!has(self.delay) || !has(self.timeout) || !self.delay.matches('^([0-9]{1,5}([.][0-9]{1,3})?(ms|s|m|h))+$') || !self.timeout.matches('^([0-9]{1,5}([.][0-9]{1,3})?(ms|s|m|h))+$') || duration(self.delay) + duration(self.timeout) <= duration('1h')",message="drain.delay and drain.timeout are together more than 1h, the longest grace period of a pod: lower one of them"
type Drain struct {
	// How long a draining router serves everything, from 0s to 10m.
	// +optional
	// +kubebuilder:default="5s"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,5}([.][0-9]{1,3})?(ms|s|m|h))+$') && duration(self) <= duration('10m')",message="drain.delay must be a duration from 0s to 10m: write one such as 5s"
	Delay *metav1.Duration `json:"delay,omitempty"`
	// How long requests in flight may then take, from 0s to 1h.
	// +optional
	// +kubebuilder:default="30s"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,5}([.][0-9]{1,3})?(ms|s|m|h))+$') && duration(self) <= duration('1h')",message="drain.timeout must be a duration from 0s to 1h: write one such as 30s"
	Timeout *metav1.Duration `json:"timeout,omitempty"`
}
