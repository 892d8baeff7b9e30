package e2e

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gridrouter.io/deploy/api/v1alpha1"
)

// authority is the certificate of the cluster's CA.
func (w *etcdWorld) authority() string {
	w.Helper()
	s := &corev1.Secret{}
	if err := w.client.Get(w.Context(), client.ObjectKey{Namespace: w.namespace, Name: w.name + ".ca"}, s); err != nil {
		w.Fatal(err)
	}
	return string(s.Data["ca.crt"])
}

func TestE2EKubeEtcdRotatesItsAuthorityWhileItIsWritten(t *testing.T) {
	if testing.Short() {
		t.Skip("clients get some minutes to read what they are to trust: make e2e-kube ARGS=--long runs it")
	}
	t.Parallel()
	w := newEtcdWorld(t, etcdNew, 3, nil)
	w.whole(3)
	l := w.follow()
	before := w.authority()
	l.mark()
	began := time.Now()
	at := metav1.NewTime(began.Add(time.Second).Truncate(time.Second))
	w.eventually("that time has come", func() error {
		if time.Now().Before(at.Time) {
			return errorf("not yet")
		}
		return nil
	})
	w.changeEtcd(func(spec *v1alpha1.EtcdClusterSpec) { spec.TLS.RenewCA = &at })
	for range 4 { // it takes longer than one wait
		deadline := time.Now().Add(patience)
		for time.Now().Before(deadline) && (w.authority() == before || w.isWhole(3) != nil) {
			time.Sleep(time.Second)
		}
	}
	if w.authority() == before {
		t.Fatal("the authority is the same as before")
	}
	w.whole(3)
	t.Logf("another authority after %s, %s", time.Since(began).Round(time.Second), l.pause())
	l.settle()
}
