package e2e

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"gridrouter.io/deploy/testbed/network"
)

func TestMountsAndUserAreWhatThePodAsksFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.createSources()
	container := server("echo:v1")
	yes, user := true, int64(65532)
	container.SecurityContext = &corev1.SecurityContext{ReadOnlyRootFilesystem: &yes, RunAsUser: &user, RunAsNonRoot: &yes}
	mount := func(name string) corev1.VolumeMount { return corev1.VolumeMount{Name: name, MountPath: "/" + name} }
	container.VolumeMounts = []corev1.VolumeMount{mount("config"), mount("secret"), mount("empty"), mount("self"), mount("claim")}
	local := func(name string) corev1.LocalObjectReference { return corev1.LocalObjectReference{Name: name} }
	w.create(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "pod", Labels: map[string]string{"color": "blue"}}, Spec: corev1.PodSpec{
		SecurityContext: &corev1.PodSecurityContext{FSGroup: &user},
		Containers:      []corev1.Container{container},
		Volumes: []corev1.Volume{
			{Name: "config", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: local("config")}}},
			{Name: "secret", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "secret"}}},
			{Name: "empty", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
			{Name: "self", VolumeSource: corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{Items: []corev1.DownwardAPIVolumeFile{
				{Path: "color", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.labels['color']"}},
			}}}},
			{Name: "claim", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "claim"}}},
		},
	}})
	pod := w.awaitPod("pod", "is ready", ready)
	base := "http://" + pod.Status.PodIP + ":8080"
	who, err := w.ask(base + "/")
	if err != nil || who.UID != 65532 {
		t.Errorf("the program runs as %+v, %v", who, err)
	}
	for path, want := range map[string]string{
		"/config/key": "from the config map",
		"/secret/key": "from the secret",
		"/self/color": "blue",
		"/var/run/secrets/kubernetes.io/serviceaccount/namespace": w.namespace,
	} {
		if text, err := w.fetch(http.MethodGet, base+"/file?path="+path); err != nil || text != want {
			t.Errorf("%s has %q, %v", path, text, err)
		}
	}
	write := func(path string) error {
		_, err := w.fetch(http.MethodPost, base+"/file?"+url.Values{"path": {path}, "text": {"x"}}.Encode())
		return err
	}
	for _, path := range []string{"/empty/file", "/claim/file"} {
		if err := write(path); err != nil {
			t.Errorf("to write %s: %v", path, err)
		}
	}
	for _, path := range []string{"/file", "/config/file"} {
		if err := write(path); err == nil || !strings.Contains(err.Error(), "read-only") {
			t.Errorf("to write %s: %v", path, err)
		}
	}
	w.tokenWorks(base)
}

// createSources makes what the pod mounts.
func (w *world) createSources() {
	w.Helper()
	core := w.client.CoreV1()
	_, err := core.ConfigMaps(w.namespace).Create(w.ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "config"}, Data: map[string]string{"key": "from the config map"},
	}, metav1.CreateOptions{})
	if err != nil {
		w.Fatal(err)
	}
	_, err = core.Secrets(w.namespace).Create(w.ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "secret"}, Data: map[string][]byte{"key": []byte("from the secret")},
	}, metav1.CreateOptions{})
	if err != nil {
		w.Fatal(err)
	}
	_, err = core.PersistentVolumeClaims(w.namespace).Create(w.ctx, &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: "claim"},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		w.Fatal(err)
	}
}

// tokenWorks asks the API server, at the address that pods use, who the pod's token stands for.
func (w *world) tokenWorks(base string) {
	w.Helper()
	const folder = "/var/run/secrets/kubernetes.io/serviceaccount/"
	token, err := w.fetch(http.MethodGet, base+"/file?path="+folder+"token")
	if err != nil {
		w.Fatal(err)
	}
	authority, err := w.fetch(http.MethodGet, base+"/file?path="+folder+"ca.crt")
	if err != nil {
		w.Fatal(err)
	}
	host, err := w.fetch(http.MethodGet, base+"/env?name=KUBERNETES_SERVICE_HOST")
	if err != nil || host != network.APIService {
		w.Errorf("the API server is at %q, %v", host, err)
	}
	client, err := kubernetes.NewForConfig(&rest.Config{Host: "https://" + host, BearerToken: token, TLSClientConfig: rest.TLSClientConfig{CAData: []byte(authority)}})
	if err != nil {
		w.Fatal(err)
	}
	if _, err := client.CoreV1().Pods(w.namespace).List(w.ctx, metav1.ListOptions{}); err == nil || !strings.Contains(err.Error(), "system:serviceaccount:"+w.namespace+":default") {
		w.Errorf("with the pod's token: %v", err)
	}
}
