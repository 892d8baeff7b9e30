package fleet

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gridrouter.io/deploy/operator/fleet/render"
	"gridrouter.io/deploy/operator/objects"
)

// scope is where the fleet's objects lie.
func (w *world) scope() objects.Scope {
	return objects.Scope{Namespace: w.fleet.Namespace, FieldOwner: render.FieldOwner, Client: w.cluster.Client, Live: w.cluster.Live, Owns: w.owns}
}

// owns says whether an object belongs to the fleet.
func (w *world) owns(o client.Object) bool {
	if o.GetLabels()[render.LabelFleet] != w.fleet.Name {
		return false
	}
	controller := metav1.GetControllerOf(o)
	return w.cluster.Remote && controller == nil || controller != nil && controller.UID == w.fleet.UID
}
