package e2e

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gridrouter.io/deploy/api/v1alpha1"
)

// TestE2EKubeEtcdComesBackFromAnEviction ends the pod of the only member as an eviction does: for good, and not deleted.
func TestE2EKubeEtcdComesBackFromAnEviction(t *testing.T) {
	t.Parallel()
	w := newEtcdWorld(t, etcdNew, 1, nil)
	before := names(w.whole(1))
	l := w.follow()
	former := w.member(before[0])
	w.kubectl("patch", "pod", before[0], "--subresource=status", "--type=merge", "-p", `{"status":{"phase":"Failed","reason":"Evicted"}}`)
	w.eventually("it has another pod", func() error {
		pod := &corev1.Pod{}
		if err := w.client.Get(t.Context(), client.ObjectKeyFromObject(former), pod); err != nil {
			return err
		}
		if pod.UID == former.UID {
			return errorf("phase %s", pod.Status.Phase)
		}
		return nil
	})
	if now := names(w.whole(1)); !slices.Equal(now, before) {
		t.Errorf("the members were %v, and are %v", before, now)
	}
	t.Log(l.pause())
	l.settle()
}

func TestE2EKubeEtcdIsMadeAnewUnderTheNameOfOneThatWasJustDeleted(t *testing.T) {
	if testing.Short() {
		t.Skip("make e2e-kube ARGS=--long runs it")
	}
	t.Parallel()
	w := newEtcdWorld(t, etcdNew, 3, nil)
	former := w.whole(3)
	w.kubectl("delete", "etcdcluster", w.name, "--wait=true")
	c := &v1alpha1.EtcdCluster{ObjectMeta: metav1.ObjectMeta{Name: w.name}, Spec: former.Spec}
	w.create(c)
	again := w.whole(3)
	if again.Status.ClusterID == former.Status.ClusterID {
		t.Errorf("it is the former cluster %s", again.Status.ClusterID)
	}
	w.eventually("nothing is left of the former members", func() error {
		for _, m := range former.Status.Members {
			if out, err := kubectlIn(t.Context(), w.namespace, "get", "etcdmember", m.Name, "-o", "jsonpath={.metadata.deletionTimestamp}"); err == nil {
				return errorf("%s: deleted at %q", m.Name, out)
			}
		}
		return nil
	})
}
