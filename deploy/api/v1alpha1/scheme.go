package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Group is the API group of all kinds here.
const Group = "gridrouter.io"

// SchemeGroupVersion is the group and version of all kinds here. Generated code knows it by this name.
var SchemeGroupVersion = schema.GroupVersion{Group: Group, Version: "v1alpha1"}

// AddToScheme makes the kinds known to a scheme, which clients need to read and write them. It may be
// called for any number of schemes; a scheme must not be used by others meanwhile.
func AddToScheme(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(SchemeGroupVersion,
		&GridRouter{}, &GridRouterList{},
		&ClusterConnection{}, &ClusterConnectionList{},
		&EtcdCluster{}, &EtcdClusterList{},
		&EtcdMember{}, &EtcdMemberList{},
		&EtcdTask{}, &EtcdTaskList{},
	)
	metav1.AddToGroupVersion(scheme, SchemeGroupVersion)
	return nil
}
