package e2e

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// etcdTags gives the tags of etcd's own images, as images.sh maps them.
func etcdTags(t *testing.T) []string {
	t.Helper()
	if os.Getenv("GRIDROUTER_BIN") == "" {
		t.Skip("GRIDROUTER_BIN is not set: make e2e-kube runs this")
	}
	folders, err := filepath.Glob(filepath.Join(os.Getenv("GRIDROUTER_BIN"), "testbed/etcd/v*"))
	if err != nil || len(folders) < 2 {
		t.Fatalf("images of etcd are %v, %v; there must be two minor versions", folders, err)
	}
	tags := make([]string, 0, len(folders))
	for _, folder := range folders {
		tags = append(tags, filepath.Base(folder))
	}
	return tags
}

func TestAnEtcdOfEachVersionKeepsItsDataOnItsVolume(t *testing.T) {
	t.Parallel()
	for _, tag := range etcdTags(t) {
		t.Run(tag, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.claim("data")
			pod := w.member(tag, "solo", "", "--listen-client-urls=http://0.0.0.0:2379", "--advertise-client-urls=http://127.0.0.1:2379")
			pod.Spec.Volumes[0].VolumeSource = corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"}}
			w.create(pod)
			base := "http://" + w.awaitPod("solo", "is ready", ready).Status.PodIP + ":2379"
			w.etcdCall(base, "put", map[string]string{"key": "k", "value": "kept"})
			if out, err := w.kubectl("exec", "solo", "--", "/usr/local/bin/etcd", "--version"); err != nil || !strings.Contains(out, "etcd Version: "+strings.TrimPrefix(tag, "v")+"\n") {
				t.Errorf("etcd says of its version: %v\n%s", err, out)
			}
			if out, err := w.kubectl("exec", "solo", "--", "/bin/sh", "-c", "true"); err == nil {
				t.Errorf("there is a shell in the image: %s", out)
			}

			w.remove("solo")
			w.create(pod)
			base = "http://" + w.awaitPod("solo", "is ready again", ready).Status.PodIP + ":2379"
			if got := w.etcdCall(base, "range", map[string]string{"key": "k"}); !strings.Contains(got, encoded("kept")) {
				t.Errorf("another pod with the same volume has: %s", got)
			}
		})
	}
}

func TestMembersFindEachOtherByNameBeforeTheyAreReady(t *testing.T) {
	t.Parallel()
	for _, tag := range etcdTags(t) {
		t.Run(tag, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			_, err := w.client.CoreV1().Services(w.namespace).Create(w.ctx, &corev1.Service{
				ObjectMeta: metav1.ObjectMeta{Name: "peers"},
				Spec: corev1.ServiceSpec{
					ClusterIP: corev1.ClusterIPNone, PublishNotReadyAddresses: true, Selector: map[string]string{"app": "etcd"},
					Ports: []corev1.ServicePort{{Name: "peer", Port: 2380}},
				},
			}, metav1.CreateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			url := func(name string) string { return "http://" + name + ".peers." + w.namespace + ".svc:2380" }
			for _, name := range []string{"a", "b"} {
				w.create(w.member(tag, name, "peers",
					"--listen-client-urls=http://0.0.0.0:2379", "--advertise-client-urls=http://"+name+".peers."+w.namespace+".svc:2379",
					"--listen-peer-urls=http://0.0.0.0:2380", "--initial-advertise-peer-urls="+url(name),
					"--initial-cluster=a="+url("a")+",b="+url("b")))
			}
			// Of two members none has a leader, and so none is ready, before it has reached the other.
			a := w.awaitPod("a", "is ready", ready)
			b := w.awaitPod("b", "is ready", ready)
			w.etcdCall("http://"+a.Status.PodIP+":2379", "put", map[string]string{"key": "k", "value": "replicated"})
			if got := w.etcdCall("http://"+b.Status.PodIP+":2379", "range", map[string]string{"key": "k"}); !strings.Contains(got, encoded("replicated")) {
				t.Errorf("the other member has: %s", got)
			}
		})
	}
}

// member gives a pod of one member, which is ready when it has a leader. A subdomain is the name of the
// headless Service that it has its name from.
func (w *world) member(tag, name, subdomain string, arguments ...string) *corev1.Pod {
	grace := int64(5)
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": "etcd"}},
		Spec: corev1.PodSpec{
			Hostname: name, Subdomain: subdomain, TerminationGracePeriodSeconds: &grace,
			Containers: []corev1.Container{{
				Name: "etcd", Image: "etcd:" + tag,
				// As for etcd's own images: with arguments alone, those would be taken for the program.
				Command: append([]string{"/usr/local/bin/etcd", "--name=" + name, "--data-dir=/data/etcd"}, arguments...),
				ReadinessProbe: &corev1.Probe{
					ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/health", Port: intstr.FromInt32(2379)}},
					PeriodSeconds: 1, TimeoutSeconds: 5,
				},
				VolumeMounts: []corev1.VolumeMount{{Name: "data", MountPath: "/data"}},
			}},
			Volumes: []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}},
		},
	}
}

func (w *world) claim(name string) {
	w.Helper()
	_, err := w.client.CoreV1().PersistentVolumeClaims(w.namespace).Create(w.ctx, &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		w.Fatal(err)
	}
}

// remove deletes a pod and waits until it is gone.
func (w *world) remove(pod string) {
	w.Helper()
	if err := w.client.CoreV1().Pods(w.namespace).Delete(w.ctx, pod, metav1.DeleteOptions{}); err != nil {
		w.Fatal(err)
	}
	w.eventually(pod+" is gone", func() error {
		_, err := w.client.CoreV1().Pods(w.namespace).Get(w.ctx, pod, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			return nil
		case err == nil:
			err = fmt.Errorf("it is there")
		}
		return err
	})
}

// etcdCall makes a call of etcd's JSON gateway, with the values in the form that it wants, and gives the answer.
func (w *world) etcdCall(base, method string, values map[string]string) (answer string) {
	w.Helper()
	pairs := make([]string, 0, len(values))
	for name, value := range values {
		pairs = append(pairs, fmt.Sprintf("%q: %q", name, encoded(value)))
	}
	w.eventually(method, func() error {
		request, err := http.NewRequestWithContext(w.ctx, http.MethodPost, base+"/v3/kv/"+method, strings.NewReader("{"+strings.Join(pairs, ", ")+"}"))
		if err != nil {
			return err
		}
		response, err := w.http.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		answer = string(body)
		if err == nil && response.StatusCode != http.StatusOK {
			err = fmt.Errorf("%w: %s: %s", errStatus, response.Status, body)
		}
		return err
	})
	return answer
}

func encoded(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
