package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Hosts of the tenant that the test's documents are about.
const shop = "shop.e2e.example"

func TestTheProductionImageServesWithoutAnyRight(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	version := w.variable("GRIDROUTER_VERSION")
	w.deploy(etcd())
	w.deploy(deployment("deck", "echo:v1", 2))
	w.secret("admin", map[string][]byte{"token": []byte("e2e-token")})
	pair, trust := w.certificate(shop)
	w.secret("shop", pair)
	w.deploy(router("gridrouter:" + version))
	w.apply()

	who, err := w.askRouter("http://router."+w.namespace+".svc.cluster.local/", trust)
	if err != nil || who.Version != "v1" || !strings.HasPrefix(who.Pod, "deck-") {
		t.Errorf("over port 80 the deck said %+v, %v", who, err)
	}
	if who, err := w.askRouter("https://router."+w.namespace+".svc.cluster.local/", trust); err != nil || who.Version != "v1" {
		t.Errorf("over port 443 the deck said %+v, %v", who, err)
	}
	pod := w.pods("router")[0]
	w.eventually("the snapshot", func() error {
		_, err := w.kubectl("exec", pod.Name, "--", "/gridrouter", "snapshot", "inspect", "/var/lib/gridrouter/gridrouter/"+pod.Name+".snap")
		return err
	})
	if out, err := w.kubectl("exec", pod.Name, "--", "/gridrouter", "version"); err != nil || !strings.Contains(out, version) {
		t.Errorf("the image says its version is %q, %v", out, err)
	}
	if out, err := w.kubectl("exec", pod.Name, "--", "/bin/sh", "-c", "true"); err == nil {
		t.Errorf("there is a shell in the image: %s", out)
	}
	if out, err := w.gridctl("fleet"); err != nil || !strings.Contains(out, pod.Name) {
		t.Errorf("gridctl fleet does not show %s: %v\n%s", pod.Name, err, out)
	}
}

func TestATagOfTheRouterThatIsNotMappedCannotBePulled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.variable("GRIDROUTER_VERSION")
	w.create(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "pod"}, Spec: corev1.PodSpec{
		Containers: []corev1.Container{{Name: "router", Image: "gridrouter:v9"}},
	}})
	w.awaitPod("pod", "says that there is no such image", func(pod *corev1.Pod) bool {
		s := pod.Status.ContainerStatuses
		return len(s) == 1 && s[0].State.Waiting != nil && strings.Contains(s[0].State.Waiting.Reason, "Image")
	})
}

// variable gives what e2e.sh tells the tests.
func (w *world) variable(name string) string {
	w.Helper()
	value := os.Getenv(name)
	if value == "" {
		w.Skipf("%s is not set: make e2e-kube runs this", name)
	}
	return value
}

// etcd gives one member, which keeps nothing.
func etcd() *appsv1.Deployment {
	d := deployment("etcd", "etcd:v3", 1)
	container := &d.Spec.Template.Spec.Containers[0]
	container.Name, container.Env, container.Lifecycle = "etcd", nil, nil
	container.Args = []string{
		"--data-dir=/data", "--unsafe-no-fsync",
		"--listen-client-urls=http://0.0.0.0:2379", "--advertise-client-urls=http://etcd:2379",
	}
	container.Ports = []corev1.ContainerPort{{Name: "http", ContainerPort: 2379}}
	container.ReadinessProbe.ProbeHandler = corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/health", Port: intstr.FromString("http")}}
	container.VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/data"}}
	d.Spec.Template.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
	return d
}

// router gives a pod as the operator makes them: it may do nothing but listen and connect.
func router(image string) *appsv1.Deployment {
	d := deployment("router", image, 1)
	pod := &d.Spec.Template.Spec
	container := &pod.Containers[0]
	yes, no, user, mode := true, false, int64(65532), int32(0o400)
	container.Name, container.Lifecycle = "router", nil
	container.Args = []string{
		"serve", "--listen=:80", "--listen-tls=:443", "--tls-cert=/tls", "--admin=:9901", "--admin-token-file=/admin/token", "--health=:9902",
		"--router-id=$(POD_NAME)", "--etcd=http://etcd.$(POD_NAMESPACE).svc:80", "--drain-delay=2s", "--drain-timeout=5s",
	}
	container.Env = []corev1.EnvVar{
		{Name: "POD_NAME", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}}},
		{Name: "POD_NAMESPACE", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.namespace"}}},
		{Name: "STATE_DIRECTORY", Value: "/var/lib/gridrouter"},
	}
	container.Ports = []corev1.ContainerPort{{Name: "http", ContainerPort: 80}, {Name: "https", ContainerPort: 443}}
	container.ReadinessProbe.ProbeHandler = corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/readyz", Port: intstr.FromInt32(9902)}}
	container.SecurityContext = &corev1.SecurityContext{
		ReadOnlyRootFilesystem: &yes, AllowPrivilegeEscalation: &no,
		Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
	container.VolumeMounts = []corev1.VolumeMount{
		{Name: "state", MountPath: "/var/lib/gridrouter"}, {Name: "admin", MountPath: "/admin"}, {Name: "tls", MountPath: "/tls"},
	}
	// Nobody says which user: it is the image's, of which the kubelet makes sure that it is not root.
	pod.SecurityContext = &corev1.PodSecurityContext{
		RunAsNonRoot: &yes, FSGroup: &user,
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		Sysctls:        []corev1.Sysctl{{Name: "net.ipv4.ip_unprivileged_port_start", Value: "0"}},
	}
	pod.AutomountServiceAccountToken = &no
	pod.Volumes = []corev1.Volume{
		{Name: "state", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
		{Name: "admin", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "admin", DefaultMode: &mode}}},
		{Name: "tls", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{DefaultMode: &mode, Sources: []corev1.VolumeProjection{
			{Secret: &corev1.SecretProjection{
				LocalObjectReference: corev1.LocalObjectReference{Name: "shop"},
				Items:                []corev1.KeyToPath{{Key: "tls.crt", Path: "shop.crt"}, {Key: "tls.key", Path: "shop.key"}},
			}},
		}}}},
	}
	return d
}

// apply writes documents by which the shop's requests go to the deck's pods, and waits until the
// router has them.
func (w *world) apply() {
	w.Helper()
	addresses := make([]string, 0, 2)
	for _, pod := range w.pods("deck") {
		addresses = append(addresses, fmt.Sprintf("%q", pod.Status.PodIP+":8080"))
	}
	documents := filepath.Join(w.TempDir(), "documents.yaml")
	text := fmt.Sprintf(`kind: Deck
name: deck
domain: deck.e2e.example
attach: direct
addresses: [%s]
---
kind: Tenant
name: shop
hosts: [%s]
rules:
  - {name: all, deck: deck}
`, strings.Join(addresses, ", "), shop)
	if err := os.WriteFile(documents, []byte(text), 0o600); err != nil {
		w.Fatal(err)
	}
	for _, arguments := range [][]string{{"apply", "-f", documents, "--why", "e2e"}, {"wait"}} {
		if out, err := w.gridctl(arguments...); err != nil {
			w.Fatalf("gridctl %v: %v\n%s", arguments, err, out)
		}
	}
}

// gridctl runs the hand tool of the same commit on the test's etcd.
func (w *world) gridctl(arguments ...string) (string, error) {
	w.Helper()
	command := exec.Command(filepath.Join(w.variable("GRIDROUTER_BIN"), "gridctl"), arguments...)
	command.Env = append(os.Environ(), "GRIDCTL_ETCD=http://etcd."+w.namespace+".svc.cluster.local:80")
	out, err := command.CombinedOutput()
	return string(out), err
}

// kubectl runs a command in the test's namespace.
func (w *world) kubectl(arguments ...string) (string, error) {
	out, err := exec.Command("kubectl", append([]string{"--namespace", w.namespace}, arguments...)...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("kubectl %v: %w: %s", arguments, err, out)
	}
	return string(out), err
}

func (w *world) secret(name string, data map[string][]byte) {
	w.Helper()
	_, err := w.client.CoreV1().Secrets(w.namespace).Create(w.ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: data}, metav1.CreateOptions{})
	if err != nil {
		w.Fatal(err)
	}
}

// certificate makes one for a host, as a Secret of the type kubernetes.io/tls has it.
func (w *world) certificate(host string) (map[string][]byte, *x509.CertPool) {
	w.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), DNSNames: []string{host}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		w.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		w.Fatal(err)
	}
	trust := x509.NewCertPool()
	pair := map[string][]byte{
		"tls.crt": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		"tls.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}),
	}
	trust.AppendCertsFromPEM(pair["tls.crt"])
	return pair, trust
}

// askRouter makes a request of the shop through the router's Service.
func (w *world) askRouter(url string, trust *x509.CertPool) (identity, error) {
	client := *w.http
	client.Transport = hostTransport{&http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: trust, ServerName: shop}}}
	other := *w
	other.http = &client
	return other.ask(url)
}

// hostTransport sends requests of the shop, whatever their URL is.
type hostTransport struct{ next http.RoundTripper }

// RoundTrip sets the host that the router decides by.
func (h hostTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	request = request.Clone(request.Context())
	request.Host = shop
	return h.next.RoundTrip(request)
}
