package tasks

// The rights of the operator for tasks, of which make generate makes deploy/manifests/rbac/role.yaml. To replace a member
// it deletes the EtcdMember, a right that it has for the clusters.
//
// +kubebuilder:rbac:groups=gridrouter.io,resources=etcdtasks,verbs=get;list;watch;patch;delete
// +kubebuilder:rbac:groups=gridrouter.io,resources=etcdtasks/status,verbs=get;update;patch
