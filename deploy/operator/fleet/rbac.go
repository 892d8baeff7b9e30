// Package fleet keeps the fleets of routers that GridRouter objects ask for.
package fleet

// The rights of the operator, of which make generate makes deploy/manifests/rbac/role.yaml.
//
// What fleets ask for, and where it is reported. Finalizers: to own what lies in the same cluster.
// +kubebuilder:rbac:groups=gridrouter.io,resources=gridrouters,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=gridrouter.io,resources=gridrouters/status,verbs=get;update;patch
// +kubebuilder:rbac:groups=gridrouter.io,resources=gridrouters/finalizers,verbs=update
// +kubebuilder:rbac:groups=gridrouter.io,resources=clusterconnections,verbs=get;list;watch
// +kubebuilder:rbac:groups=gridrouter.io,resources=clusterconnections/status,verbs=get;update;patch
//
// What a fleet is made of, and what leaves with it.
// +kubebuilder:rbac:groups=apps,resources=deployments;controllerrevisions,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups="",resources=services;configmaps;serviceaccounts,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=policy,resources=poddisruptionbudgets,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=autoscaling,resources=horizontalpodautoscalers,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=networking.k8s.io,resources=networkpolicies,verbs=get;list;watch;create;patch;delete
//
// Of Secrets, those that specs name are read one by one (credentials of etcd), and the token of each fleet is made.
// The package clusters lists and watches those with kubeconfigs by their label, which no right can be narrowed to.
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;create;patch;delete
//
// What is looked at to tell how a fleet fares.
// +kubebuilder:rbac:groups="",resources=pods;nodes,verbs=get;list;watch
// +kubebuilder:rbac:groups=apps,resources=replicasets,verbs=get;list;watch
// +kubebuilder:rbac:groups=discovery.k8s.io,resources=endpointslices,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch
//
// The authority of the metrics API is written into its two registrations, and no other.
// +kubebuilder:rbac:groups=apiregistration.k8s.io,resources=apiservices,resourceNames=v1beta1.custom.metrics.k8s.io;v1beta2.custom.metrics.k8s.io,verbs=get;patch
//
// In the operator's own namespace: its Lease, what the election reports, and the address of the metrics API, which
// is the leader's.
// +kubebuilder:rbac:namespace=gridrouter-system,groups=coordination.k8s.io,resources=leases,verbs=get;create;update;patch
// +kubebuilder:rbac:namespace=gridrouter-system,groups="",resources=events,verbs=create;patch
// +kubebuilder:rbac:namespace=gridrouter-system,groups=discovery.k8s.io,resources=endpointslices,verbs=create;patch
