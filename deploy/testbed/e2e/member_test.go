package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestAMemberWhoseVolumeWasWipedIsNotStartedAndSaysWhy has etcd's own image started by the production image's program.
func TestAMemberWhoseVolumeWasWipedIsNotStartedAndSaysWhy(t *testing.T) {
	t.Parallel()
	for _, tag := range etcdTags(t) {
		t.Run(tag, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.claim("data")
			w.create(w.guarded(tag))
			base := "http://" + w.awaitPod("solo", "is ready", ready).Status.PodIP + ":2379"
			w.etcdCall(base, "put", map[string]string{"key": "k", "value": "kept"})
			member, cluster := w.identity()
			w.annotate("solo", fmt.Sprintf(`{"metadata":{"annotations":{"gridrouter.io/etcd-joined":"%s/%s"}}}`, member, cluster))

			w.kill("\x00--listen-client-urls=http://0.0.0.0:2379\x00--advertise-client-urls=http://" + w.namespace)
			w.awaitPod("solo", "is ready with its data again", func(pod *corev1.Pod) bool {
				return ready(pod) && pod.Status.ContainerStatuses[0].RestartCount == 1
			})
			if got := w.etcdCall(base, "range", map[string]string{"key": "k"}); !strings.Contains(got, encoded("kept")) {
				t.Errorf("after a restart it has: %s", got)
			}

			w.wipe("data")
			w.kill("\x00--listen-client-urls=http://0.0.0.0:2379\x00--advertise-client-urls=http://" + w.namespace)
			pod := w.awaitPod("solo", "is refused", func(pod *corev1.Pod) bool { return refused(pod) != nil && refused(pod).ExitCode == 41 })
			if message := refused(pod).Message; !strings.HasPrefix(message, "the volume lost the data of member "+member+" of cluster "+cluster) {
				t.Errorf("the container's status says %q", message)
			}
		})
	}
}

// refused is how the container of a pod has ended last.
func refused(pod *corev1.Pod) *corev1.ContainerStateTerminated {
	if state := pod.Status.ContainerStatuses[0].State.Terminated; state != nil {
		return state
	}
	return pod.Status.ContainerStatuses[0].LastTerminationState.Terminated
}

// guarded gives a member with a claim of a volume, whose pod is made as the operator makes it.
func (w *world) guarded(tag string) *corev1.Pod {
	w.Helper()
	pod := w.member(tag, "solo", "", "--listen-client-urls=http://0.0.0.0:2379", "--advertise-client-urls=http://"+w.namespace+":2379")
	container := &pod.Spec.Containers[0]
	container.Command = append([]string{"/tools/gridrouter", "etcd", "run", "--data-dir=/data/etcd", "--pod-info=/info/annotations", "--"}, container.Command...)
	container.VolumeMounts = append(container.VolumeMounts, corev1.VolumeMount{Name: "tools", MountPath: "/tools"}, corev1.VolumeMount{Name: "info", MountPath: "/info"})
	yes, no, user := true, false, int64(65532)
	container.SecurityContext = &corev1.SecurityContext{
		ReadOnlyRootFilesystem: &yes, AllowPrivilegeEscalation: &no,
		Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
	pod.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsNonRoot: &yes, RunAsUser: &user, FSGroup: &user}
	pod.Spec.InitContainers = []corev1.Container{{
		Name: "install", Image: "gridrouter:" + w.variable("GRIDROUTER_VERSION"), Args: []string{"etcd", "install", "/tools"},
		VolumeMounts: []corev1.VolumeMount{{Name: "tools", MountPath: "/tools"}}, SecurityContext: container.SecurityContext,
	}}
	pod.Spec.Volumes = []corev1.Volume{
		{Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"}}},
		{Name: "tools", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
		{Name: "info", VolumeSource: corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{Items: []corev1.DownwardAPIVolumeFile{
			{Path: "annotations", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.annotations"}},
		}}}},
	}
	return pod
}

// identity reads the member's and the cluster's ID, in hex, from what etcd logs at its start.
func (w *world) identity() (member, cluster string) {
	w.Helper()
	w.eventually("etcd tells who it is", func() error {
		out, err := w.kubectl("logs", "solo")
		if err != nil {
			return err
		}
		member, cluster = logged(out, "local-member-id"), logged(out, "cluster-id")
		if member == "" || cluster == "" {
			return errors.New("no line has both IDs")
		}
		return nil
	})
	return member, cluster
}

// logged gives the first value of a field in lines of JSON.
func logged(lines, field string) string {
	_, rest, _ := strings.Cut(lines, `"`+field+`":"`)
	value, _, _ := strings.Cut(rest, `"`)
	return value
}

// wipe removes all that is in the volume of a claim. A volume is a folder of this machine.
func (w *world) wipe(claim string) {
	w.Helper()
	found, err := w.client.CoreV1().PersistentVolumeClaims(w.namespace).Get(w.ctx, claim, metav1.GetOptions{})
	if err != nil {
		w.Fatal(err)
	}
	volume, err := w.client.CoreV1().PersistentVolumes().Get(w.ctx, found.Spec.VolumeName, metav1.GetOptions{})
	if err != nil {
		w.Fatal(err)
	}
	entries, err := os.ReadDir(volume.Spec.HostPath.Path)
	if err != nil || len(entries) == 0 {
		w.Fatalf("the volume has %v, %v", entries, err)
	}
	for _, entry := range entries {
		if err := os.RemoveAll(filepath.Join(volume.Spec.HostPath.Path, entry.Name())); err != nil {
			w.Fatal(err)
		}
	}
}
