package e2e

import (
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestPortsBelow1024NeedRootOrThePodsSysctl(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	yes, user := true, int64(65532)
	pod := func(name string, sysctls ...corev1.Sysctl) *corev1.Pod {
		container := server("echo:v1")
		container.Args = []string{"--listen=:80"}
		container.Ports[0].ContainerPort = 80
		container.SecurityContext = &corev1.SecurityContext{
			RunAsUser: &user, RunAsNonRoot: &yes, Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		}
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PodSpec{
			RestartPolicy:   corev1.RestartPolicyNever,
			SecurityContext: &corev1.PodSecurityContext{Sysctls: sysctls},
			Containers:      []corev1.Container{container},
		}}
	}
	w.create(pod("without"))
	w.create(pod("with", corev1.Sysctl{Name: "net.ipv4.ip_unprivileged_port_start", Value: "0"}))
	allowed := w.awaitPod("with", "is ready", ready)
	w.awaitPod("without", "has failed", func(pod *corev1.Pod) bool { return pod.Status.Phase == corev1.PodFailed })
	if text, err := w.kubectl("logs", "without"); err != nil || !strings.Contains(text, "permission denied") {
		t.Errorf("without the sysctl the log is %q, %v", text, err)
	}
	status, err := w.fetch(http.MethodGet, "http://"+allowed.Status.PodIP+"/file?path=/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(status, "\n") {
		if set, value, found := strings.Cut(line, ":\t"); found && strings.HasPrefix(set, "Cap") && strings.Trim(value, "0") != "" {
			t.Errorf("it has capabilities: %s", line)
		}
	}
}

func TestAPodUsesTheAPIByItsAccountAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.client.RbacV1().Roles(w.namespace).Create(w.ctx, &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Name: "leases"},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, Verbs: []string{"get", "create", "patch"}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.client.RbacV1().RoleBindings(w.namespace).Create(w.ctx, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "leases"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "leases"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: w.namespace, Name: "default"}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.client.CoreV1().ConfigMaps(w.namespace).Create(w.ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "files"},
		Data:       map[string]string{"lease.yaml": "apiVersion: coordination.k8s.io/v1\nkind: Lease\nmetadata: {name: held}\nspec: {holderIdentity: pod}\n"},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w.create(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "pod"}, Spec: corev1.PodSpec{
		RestartPolicy: corev1.RestartPolicyNever,
		Containers: []corev1.Container{{
			Name: "kubectl", Image: "kubectl", Args: []string{"apply", "--validate=false", "-f", "/files/lease.yaml"},
			VolumeMounts: []corev1.VolumeMount{{Name: "files", MountPath: "/files"}},
		}},
		Volumes: []corev1.Volume{{Name: "files", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: "files"},
		}}}},
	}})
	w.awaitPod("pod", "has ended", func(pod *corev1.Pod) bool {
		return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
	})
	lease, err := w.client.CoordinationV1().Leases(w.namespace).Get(w.ctx, "held", metav1.GetOptions{})
	if err != nil || lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity != "pod" {
		text, _ := w.kubectl("logs", "pod")
		t.Errorf("the lease is %+v, %v; the pod said %s", lease, err, text)
	}
}
