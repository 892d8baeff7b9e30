package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gridrouter.io/deploy/api/v1alpha1"
)

// write writes documents into the cluster, as somebody with the certificate of its clients does.
func (w *etcdWorld) write(documents string) {
	w.Helper()
	dir := w.TempDir()
	s := &corev1.Secret{}
	if err := w.client.Get(w.Context(), client.ObjectKey{Namespace: w.namespace, Name: w.name + ".user.client"}, s); err != nil {
		w.Fatal(err)
	}
	s.Data["documents.yaml"] = []byte(documents)
	for name, data := range s.Data {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			w.Fatal(err)
		}
	}
	w.eventually("the documents are in etcd", func() error {
		out, err := exec.CommandContext(w.Context(), filepath.Join(os.Getenv(bin), "gridctl"), "--etcd", "https://"+w.host(w.name+"-client")+":2379",
			"--etcd-ca", filepath.Join(dir, "ca.crt"), "--etcd-cert", filepath.Join(dir, "tls.crt"), "--etcd-key", filepath.Join(dir, "tls.key"),
			"apply", "-f", filepath.Join(dir, "documents.yaml")).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
}

// TestE2EKubeAFleetFollowsAnEtcdCluster has a fleet serve from an etcd cluster that is upgraded, grows, loses its leader and
// shrinks meanwhile.
func TestE2EKubeAFleetFollowsAnEtcdCluster(t *testing.T) {
	t.Parallel()
	w := newEtcdWorld(t, etcdOld, 3, nil)
	fleet := w.fleet("edge", 2)
	fleet.Spec.Etcd = v1alpha1.EtcdSource{Cluster: w.name}
	w.create(fleet)
	w.program("deck", 2, 8080, &corev1.Container{Image: "echo:v1", ReadinessProbe: &corev1.Probe{
		ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/ready", Port: intstr.FromString("main")}}, PeriodSeconds: 1,
	}})
	w.whole(3)
	w.write(fmt.Sprintf(`{kind: Deck, name: d1, domain: d1.test, attach: direct, addresses: ["%s:8080"]}
---
{kind: Tenant, name: acme, hosts: [acme.test], rules: [{name: all, deck: d1}]}
`, w.host("deck")))
	w.awaits("edge", v1alpha1.ConditionProgressing, v1alpha1.ReasonComplete)
	w.answered("edge")
	traffic := w.traffic("edge")
	w.step("the upgrade of etcd", traffic, func() {
		w.changeEtcd(func(spec *v1alpha1.EtcdClusterSpec) { spec.Version = etcdNew })
		w.whole(3)
	})
	w.step("its growth", traffic, func() { w.scaleEtcd(5) })
	w.step("the end of its leader", traffic, func() {
		led := w.cluster().Status.Leader
		pid := w.process(led)
		w.kill(led)
		w.eventually("it runs again", func() error { // and may lead again
			if now := w.process(led); now == 0 || now == pid {
				return errorf("process %d", now)
			}
			return nil
		})
		w.whole(5)
	})
	w.step("its shrinking", traffic, func() { w.scaleEtcd(1) })
	w.write("{kind: Tenant, name: late, hosts: [late.test], rules: [{name: all, deck: d1}]}\n")
	w.awaits("edge", v1alpha1.ConditionConfigSynced, v1alpha1.ReasonInSync)
	traffic.end()
	t.Logf("%d of %d requests failed", traffic.failed.Load(), traffic.asked.Load())
	if traffic.failed.Load() > 0 {
		t.Errorf("requests failed:\n%s", strings.Join(traffic.why, "\n"))
	}
}
