package render_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/deploy/operator/fleet/render"
)

// TestAServiceReachesOldAndNewRoutersWhileAListenerChanges renders the Service of a fleet whose listener has
// another name or number in pods that are still there.
func TestAServiceReachesOldAndNewRoutersWhileAListenerChanges(t *testing.T) {
	pod := func(name string, number int32) corev1.Pod {
		return corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Ports: []corev1.ContainerPort{{Name: name, ContainerPort: number}}}}}}
	}
	ending := pod("other", 1)
	ending.DeletionTimestamp = &metav1.Time{}
	fleet := &v1alpha1.GridRouter{ObjectMeta: metav1.ObjectMeta{Namespace: "grid", Name: "edge"}}
	fleet.Spec.Listeners = []v1alpha1.Listener{{Name: "web", Port: 8080}}
	f := func(want intstr.IntOrString, pods ...corev1.Pod) {
		t.Helper()
		ports := render.Service(render.Owner{Fleet: fleet}, pods).Spec.Ports
		if len(ports) != 1 || *ports[0].TargetPort != want {
			t.Errorf("the target is %v, want %v", ports[0].TargetPort, want)
		}
	}
	byName, byNumber := intstr.FromString("web"), intstr.FromInt32(8080)
	f(byName)
	f(byName, pod("web", 8080))
	f(byName, pod("web", 80), pod("web", 8080))
	f(byNumber, pod("http", 8080), pod("web", 8080))
	f(byNumber, pod("http", 8080), pod("http", 8080))
	f(byName, pod("http", 80), pod("web", 8080)) // nothing is the same in both: it is another listener
	f(byName, ending, pod("web", 8080))
}
