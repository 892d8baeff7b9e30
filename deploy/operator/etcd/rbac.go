package etcd

// The rights of the operator for etcd clusters, of which make generate makes deploy/manifests/rbac/role.yaml.
//
// What clusters ask for, and where it is reported. Finalizers: to own what lies in the same cluster.
// +kubebuilder:rbac:groups=gridrouter.io,resources=etcdclusters,verbs=get;list;watch
// +kubebuilder:rbac:groups=gridrouter.io,resources=etcdclusters/status,verbs=get;update;patch
// +kubebuilder:rbac:groups=gridrouter.io,resources=etcdclusters/finalizers,verbs=update
// +kubebuilder:rbac:groups=gridrouter.io,resources=etcdmembers,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=gridrouter.io,resources=etcdmembers/status,verbs=get;update;patch
//
// What members are made of.
// The certificates of members and clients.
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;list;create;update;delete
//
// +kubebuilder:rbac:groups="",resources=pods;persistentvolumeclaims,verbs=get;list;watch;create;patch;delete
