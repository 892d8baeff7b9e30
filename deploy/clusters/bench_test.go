package clusters_test

import (
	"context"
	"fmt"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/deploy/clusters"
)

// servers are two real API servers, which the tests of this package share.
type servers struct {
	local, remote *rest.Config
	operator      *rest.Config // of the manager; nil: local
	scheme        *k8sruntime.Scheme
}

// bench is a manager with a registry and its reconciler, in a namespace of its own.
type bench struct {
	*servers
	t         *testing.T
	namespace string
	there     client.Client // of the local server, with all rights
	far       client.Client // of the remote one
	registry  *clusters.Registry
	manager   ctrl.Manager
	log       *told

	mu          sync.Mutex
	changed     []string // NAMESPACE/FLEET
	connections []string // names in the order of their changes
}

// told keeps what was logged.
type told struct {
	mu   sync.Mutex
	text []string
}

func (l *told) logger() logr.Logger {
	return funcr.New(func(prefix, args string) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.text = append(l.text, prefix+" "+args)
	}, funcr.Options{Verbosity: 10})
}

func newScheme(t *testing.T) *k8sruntime.Scheme {
	t.Helper()
	scheme := k8sruntime.NewScheme()
	for _, add := range []func(*k8sruntime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	return scheme
}

// newBench starts a manager as config allows, which ends with the test.
func newBench(t *testing.T, s *servers, o clusters.Options) *bench {
	t.Helper()
	b := &bench{servers: s, t: t, log: &told{}}
	b.there, b.far = b.clientOf(s.local), b.clientOf(s.remote)
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "t-"}}
	b.create(b.there, ns)
	b.namespace = ns.Name
	b.create(b.far, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns.Name}})
	operator := s.local
	if s.operator != nil {
		operator = s.operator
	}
	manager, err := ctrl.NewManager(operator, ctrl.Options{
		Scheme: s.scheme, Logger: b.log.logger(), Metrics: metricsserver.Options{BindAddress: "0"},
		Controller: config.Controller{SkipNameValidation: new(true)},
	})
	if err != nil {
		t.Fatal(err)
	}
	if o.Namespaces != nil {
		o.Namespaces[b.namespace] = cache.Config{}
	}
	o.Watch = []client.Object{&appsv1.Deployment{}, &corev1.Pod{}}
	o.Log = b.log.logger()
	o.ProbeEvery = 200 * time.Millisecond
	o.Changed = func(namespace, fleet string) { b.note(&b.changed, namespace+"/"+fleet) }
	o.ConnectionChanged = func(namespace, name string) {
		if namespace == b.namespace {
			b.note(&b.connections, name)
		}
	}
	b.manager, b.registry = manager, clusters.New(manager, o)
	if err := manager.Add(b.registry); err != nil {
		t.Fatal(err)
	}
	if err := clusters.NewReconciler(b.registry).SetupWithManager(manager); err != nil {
		t.Fatal(err)
	}
	b.run()
	return b
}

func (b *bench) run() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.manager.Start(ctx) }()
	b.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			b.t.Error(err)
		}
		b.leavesNothing()
	})
}

// leavesNothing looks for goroutines that the stopped registry began, and for caches that it filled. It is
// the manager that keeps its own sockets.
func (b *bench) leavesNothing() {
	b.t.Helper()
	stacks := ""
	defer func() {
		if b.t.Failed() {
			b.t.Log(stacks)
		}
	}()
	testkit.Eventually(b.t, "nothing of the registry runs any more", func() bool {
		buffer := make([]byte, 4<<20)
		stacks = string(buffer[:runtime.Stack(buffer, true)])
		return !strings.Contains(stacks, "gridrouter.io/deploy/clusters.(*") && !strings.Contains(stacks, "client-go/tools/cache.(*")
	})
}

func (b *bench) note(list *[]string, line string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	*list = append(*list, line)
}

// noted returns how often something was told.
func (b *bench) noted(list *[]string, line string) (times int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range *list {
		if l == line {
			times++
		}
	}
	return times
}

func (b *bench) clientOf(config *rest.Config) client.Client {
	b.t.Helper()
	c, err := client.New(config, client.Options{Scheme: b.scheme})
	if err != nil {
		b.t.Fatal(err)
	}
	return c
}

func (b *bench) create(in client.Client, object client.Object) {
	b.t.Helper()
	if err := in.Create(b.t.Context(), object); err != nil {
		b.t.Fatal(err)
	}
}

// user makes a service account in the remote cluster, with rights in the bench's namespace, and returns a
// token of it.
func (b *bench) user(name string, verbs ...string) string {
	b.t.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: b.namespace}}
	b.create(b.far, account)
	if len(verbs) > 0 {
		b.grant(name, verbs)
	}
	request := &authenticationv1.TokenRequest{}
	if err := b.far.SubResource("token").Create(b.t.Context(), account, request); err != nil {
		b.t.Fatal(err)
	}
	return request.Status.Token
}

// grant gives a user of the remote cluster rights in the bench's namespace.
func (b *bench) grant(name string, verbs []string) {
	b.t.Helper()
	meta := metav1.ObjectMeta{Name: name, Namespace: b.namespace}
	b.create(b.far, &rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{"", "apps"}, Resources: []string{"pods", "deployments", "configmaps"}, Verbs: verbs},
	}})
	b.create(b.far, &rbacv1.RoleBinding{
		ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: name, Namespace: b.namespace}},
	})
}

// all are the verbs of a user who may do what an operator does.
var all = []string{"get", "list", "watch", "create", "update", "patch", "delete"}

// kubeconfig leads to the remote server by an address of its own.
func (b *bench) kubeconfig(address, token string) []byte {
	b.t.Helper()
	text, err := clientcmd.Write(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"k": {Server: "https://" + address, CertificateAuthorityData: b.remote.CAData}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"u": {Token: token}},
		Contexts:       map[string]*clientcmdapi.Context{"c": {Cluster: "k", AuthInfo: "u"}},
		CurrentContext: "c",
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return text
}

// gateway opens another address of the remote server.
func (b *bench) gateway() *gateway {
	b.t.Helper()
	server, err := url.Parse(b.remote.Host)
	if err != nil || server.Host == "" {
		b.t.Fatalf("%q: %v", b.remote.Host, err)
	}
	return newGateway(b.t, server.Host)
}

// secret writes a Secret with a kubeconfig, labelled or not.
func (b *bench) secret(name string, kubeconfig []byte, labelled bool) {
	b.t.Helper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: b.namespace}, Data: map[string][]byte{"kubeconfig": kubeconfig}}
	if labelled {
		secret.Labels = map[string]string{v1alpha1.KubeconfigLabel: "true"}
	}
	err := b.there.Create(b.t.Context(), secret)
	if apierrors.IsAlreadyExists(err) {
		err = b.there.Update(b.t.Context(), secret)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// connection makes a ClusterConnection by the Secret of a name; in cluster, where that is empty.
func (b *bench) connection(name, secret string) *v1alpha1.ClusterConnection {
	b.t.Helper()
	c := &v1alpha1.ClusterConnection{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: b.namespace}}
	if c.Spec.InCluster = secret == ""; !c.Spec.InCluster {
		c.Spec.SecretRef = &v1alpha1.KubeconfigRef{Name: secret}
	}
	b.create(b.there, c)
	return c
}

// connected makes a connection with a good kubeconfig, by a gateway of its own.
func (b *bench) connected(name string) *gateway {
	b.t.Helper()
	g := b.gateway()
	b.secret(name, b.kubeconfig(g.address, b.user(name, all...)), true)
	b.connection(name, name)
	return g
}

// reached waits until a cluster is reachable.
func (b *bench) reached(name string) (reached clusters.Cluster) {
	b.t.Helper()
	var err error
	testkit.Eventually(b.t, "the cluster "+name+" is reachable", func() bool {
		reached, err = b.registry.Cluster(b.t.Context(), b.namespace, name)
		return err == nil
	})
	return reached
}

// status waits until the status of a connection has a reason in its condition Available.
func (b *bench) status(name string, reason v1alpha1.Reason) (status v1alpha1.ClusterConnectionStatus) {
	b.t.Helper()
	last := ""
	b.t.Cleanup(func() {
		if b.t.Failed() {
			b.t.Logf("%s: %s", name, last)
		}
	})
	testkit.Eventually(b.t, fmt.Sprintf("%s is %s", name, reason), func() bool {
		c, err := clusters.Get[v1alpha1.ClusterConnection](b.t.Context(), b.there, b.namespace, name)
		if err != nil {
			b.t.Fatal(err)
		}
		last = fmt.Sprintf("%+v", c.Status)
		status = c.Status
		return slices.ContainsFunc(c.Status.Conditions, func(c metav1.Condition) bool {
			return c.Type == string(v1alpha1.ConditionAvailable) && c.Reason == string(reason)
		})
	})
	return status
}
