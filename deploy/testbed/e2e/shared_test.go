package e2e

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// TestAnInitContainerBringsAProgramToAnImageWithoutAShell follows such a pod: what its annotations are is seen
// in a file, and its container starts again with what it had in a shared folder.
func TestAnInitContainerBringsAProgramToAnImageWithoutAShell(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create(w.broughtAlong(etcdTags(t)[0]))
	pod := w.awaitPod("pod", "is ready", ready)
	base := "http://" + pod.Status.PodIP + ":8080"

	w.eventually("the annotations are told", func() error { return w.fileHas(base, "/info/annotations", `first="1"`) })
	begin := time.Now()
	w.annotate("pod", `{"metadata":{"annotations":{"second":"a \"quoted\"\nline"}}}`)
	w.eventually("an annotation is told while the pod runs", func() error {
		return w.fileHas(base, "/info/annotations", `second="a \"quoted\"\nline"`)
	})
	t.Logf("an annotation was in the container's file after %v", time.Since(begin).Round(10*time.Millisecond))

	if _, err := w.fetch(http.MethodPost, base+"/file?"+url.Values{"path": {"/tools/mark"}, "text": {"kept"}}.Encode()); err != nil {
		t.Fatal(err)
	}
	w.kill("--listen=:8080\x00--\x00" + w.namespace)
	again := w.awaitPod("pod", "is ready after its process was killed", func(pod *corev1.Pod) bool {
		return ready(pod) && pod.Status.ContainerStatuses[0].RestartCount == 1
	})
	if ended := again.Status.ContainerStatuses[0].LastTerminationState.Terminated; ended == nil || ended.ExitCode != 137 {
		t.Errorf("the killed container ended so: %+v", ended)
	}
	if again.UID != pod.UID || again.Status.PodIP != pod.Status.PodIP || again.Status.InitContainerStatuses[0].RestartCount != 0 {
		t.Errorf("it is not the same pod: %+v", again.Status)
	}
	if err := w.fileHas(base, "/tools/mark", "kept"); err != nil {
		t.Error(err)
	}
}

// broughtAlong gives a pod whose container has etcd's image and runs the test server, which an init container
// has copied into a folder that both share.
func (w *world) broughtAlong(tag string) *corev1.Pod {
	container := server("etcd:" + tag)
	// The last argument ends the flags, and tells this process from those of other tests.
	container.Command, container.Args = []string{"/tools/echo", "--linger=1s", "--delay=0s", "--listen=:8080", "--", w.namespace}, nil
	container.VolumeMounts = []corev1.VolumeMount{{Name: "tools", MountPath: "/tools"}, {Name: "info", MountPath: "/info"}}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "pod", Annotations: map[string]string{"first": "1"}},
		Spec: corev1.PodSpec{
			InitContainers: []corev1.Container{{
				Name: "install", Image: "echo:v1", Args: []string{"--copy-to=/tools"},
				VolumeMounts: []corev1.VolumeMount{{Name: "tools", MountPath: "/tools"}},
			}},
			Containers: []corev1.Container{container},
			Volumes: []corev1.Volume{
				{Name: "tools", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
				{Name: "info", VolumeSource: corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{Items: []corev1.DownwardAPIVolumeFile{
					{Path: "annotations", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.annotations"}},
				}}}},
			},
		},
	}
}

func (w *world) annotate(pod, patch string) {
	w.Helper()
	if _, err := w.client.CoreV1().Pods(w.namespace).Patch(w.ctx, pod, types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		w.Fatal(err)
	}
}

// fileHas says whether a file in the test server's container has a text in it.
func (w *world) fileHas(base, path, want string) error {
	text, err := w.fetch(http.MethodGet, base+"/file?path="+url.QueryEscape(path))
	if err == nil && !strings.Contains(text, want) {
		err = fmt.Errorf("%s has %q, and not %q", path, text, want)
	}
	return err
}

// kill ends the only process with an argument by SIGKILL. The processes of all pods are seen from where the tests run.
func (w *world) kill(argument string) {
	w.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		w.Fatal(err)
	}
	var found []int
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		// One that cannot be read has ended.
		if line, err := os.ReadFile("/proc/" + entry.Name() + "/cmdline"); err == nil && strings.Contains(string(line), argument) {
			found = append(found, pid)
		}
	}
	if len(found) != 1 {
		w.Fatalf("the processes with %q are %v; there must be one", argument, found)
	}
	if err := syscall.Kill(found[0], syscall.SIGKILL); err != nil {
		w.Fatal(err)
	}
}
