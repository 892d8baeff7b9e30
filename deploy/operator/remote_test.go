package operator_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/bench/testkit/kubetest"
	"gridrouter.io/deploy/api/v1alpha1"
)

// road leads to an API server until it is closed.
type road struct {
	net.Listener
	mu      sync.Mutex
	sockets []net.Conn
	running sync.WaitGroup
	silent  atomic.Bool   // takes all, and lets nothing through
	over    chan struct{} // closed at the end
	as      string        // who takes it; empty: who may do all
	end     func()
}

// passing writes to the other end, unless the road is silent.
type passing struct {
	net.Conn
	road *road
}

func (p passing) Write(text []byte) (int, error) {
	if p.road.silent.Load() {
		<-p.road.over
		return 0, net.ErrClosed
	}
	return p.Conn.Write(text)
}

// newRoad opens an address that leads to where config does.
func newRoad(t *testing.T, config *rest.Config) *road {
	t.Helper()
	server, err := url.Parse(config.Host)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	r := &road{Listener: listener, over: over, end: sync.OnceFunc(func() { close(over) })}
	r.running.Go(func() {
		for {
			from, err := listener.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("tcp", server.Host)
			if err != nil {
				_ = from.Close()
				continue
			}
			r.mu.Lock()
			r.sockets = append(r.sockets, from, to)
			r.mu.Unlock()
			for _, pair := range [][2]net.Conn{{from, to}, {to, from}} {
				r.running.Go(func() {
					_, _ = io.Copy(passing{pair[0], r}, pair[1]) // until one of both ends
					_ = pair[0].Close()
					_ = pair[1].Close()
				})
			}
		}
	})
	t.Cleanup(r.close)
	return r
}

func (r *road) close() {
	r.end()
	_ = r.Listener.Close()
	r.mu.Lock()
	for _, socket := range r.sockets {
		_ = socket.Close()
	}
	r.mu.Unlock()
	r.running.Wait()
}

// TestFleetsInAnotherCluster has an operator keep fleets in two clusters, of which one goes away, and comes back
// by another address with another Secret.
func TestFleetsInAnotherCluster(t *testing.T) {
	here, there := kubetest.Start(t), kubetest.Start(t)
	c, far := installed(t, here), newClient(t, there)
	first := newRoad(t, there)
	connect(t, c, there, first, false)
	var forbidden atomic.Int64
	o := run(t, here, &forbidden)
	testkit.Eventually(t, "the operator leads", o.says(t, "leads"))

	local, remote, leaves := pretended("local"), pretended("remote"), pretended("leaves")
	remote.Spec.Cluster, leaves.Spec.Cluster = "west", "west"
	for _, fleet := range []*v1alpha1.GridRouter{local, remote, leaves} {
		if err := c.Create(t.Context(), fleet); err != nil {
			t.Fatal(err)
		}
	}
	testkit.Eventually(t, "each fleet is where it belongs", func() bool {
		return version(t, c, "local") == "v1" && version(t, far, "remote") == "v1" && version(t, far, "leaves") == "v1" &&
			version(t, c, "remote") == "" && version(t, far, "local") == ""
	})

	first.close()
	testkit.Eventually(t, "the fleets of the cluster that is away say so", func() bool {
		return degraded(t, c, "remote") == v1alpha1.ReasonClusterUnreachable && degraded(t, c, "leaves") == v1alpha1.ReasonClusterUnreachable
	})
	if err := c.Delete(t.Context(), leaves); err != nil {
		t.Fatal(err)
	}
	change(t, c, "remote", "v2")
	change(t, c, "local", "v2")
	testkit.Eventually(t, "the others go on", func() bool { return version(t, c, "local") == "v2" })
	if reason := degraded(t, c, "local"); reason == v1alpha1.ReasonClusterUnreachable {
		t.Errorf("the fleet here is %s", reason)
	}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(leaves), leaves); err != nil || len(leaves.Finalizers) != 1 {
		t.Errorf("a fleet whose routers cannot be deleted: %v, %v", err, leaves.Finalizers)
	}

	connect(t, c, there, newRoad(t, there), true)
	testkit.Eventually(t, "what was changed meanwhile is done there", func() bool {
		return version(t, far, "remote") == "v2" && version(t, far, "leaves") == "" && degraded(t, c, "remote") != v1alpha1.ReasonClusterUnreachable
	})
	testkit.Eventually(t, "the fleet that was deleted is gone", func() bool {
		return client.IgnoreNotFound(c.Get(t.Context(), client.ObjectKeyFromObject(leaves), leaves)) == nil && left(t, far, "leaves") == ""
	})
	if err := c.Delete(t.Context(), remote); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "all that it had there is deleted", func() bool { return left(t, far, "remote") == "" })
	if n := forbidden.Load(); n > 0 {
		t.Errorf("%d requests were forbidden", n)
	}
	o.stop()
	if err := <-o.ended; err != nil {
		t.Error(err)
	}
}

// tenant are the rights in another cluster that docs/OPERATOR.md asks for, without those that show zones.
const tenant = `
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {namespace: default, name: tenant}
rules:
- {apiGroups: [apps], resources: [deployments, controllerrevisions], verbs: &all [get, list, watch, create, patch, delete]}
- {apiGroups: [""], resources: [services, serviceaccounts, configmaps], verbs: *all}
- {apiGroups: [policy], resources: [poddisruptionbudgets], verbs: *all}
- {apiGroups: [autoscaling], resources: [horizontalpodautoscalers], verbs: *all}
- {apiGroups: [networking.k8s.io], resources: [networkpolicies], verbs: *all}
- {apiGroups: [""], resources: [secrets], verbs: [get, create, patch, delete]}
- {apiGroups: [""], resources: [pods], verbs: [get, list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {namespace: default, name: tenant}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: tenant}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: tenant}]
`

// TestAClusterThatFallsSilentHoldsUpNoFleetOfOthers has more fleets in a cluster than are looked at at once, which
// then takes requests and answers none. Later its connection is deleted before a fleet is.
func TestAClusterThatFallsSilentHoldsUpNoFleetOfOthers(t *testing.T) {
	const fleets = 12
	here, there := kubetest.Start(t), kubetest.Start(t)
	c, far := installed(t, here), newClient(t, there)
	apply(t, far, []byte(tenant))
	road := func() *road {
		r := newRoad(t, there)
		r.as = "tenant"
		return r
	}
	first := road()
	connect(t, c, there, first, false)
	var forbidden atomic.Int64
	o := run(t, here, &forbidden)
	testkit.Eventually(t, "the operator leads", o.says(t, "leads"))
	pretendPods(t, far, nameOf(0), 1) // on a node that the tenant may not read
	all := func(is func(name string) bool) func() bool {
		return func() bool {
			for i := range fleets {
				if !is(nameOf(i)) {
					return false
				}
			}
			return true
		}
	}
	for i := range fleets {
		fleet := pretended(nameOf(i))
		fleet.Spec.Cluster = "west"
		if err := c.Create(t.Context(), fleet); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Create(t.Context(), pretended("local")); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "each fleet is where it belongs", all(func(name string) bool { return version(t, far, name) == "v1" && version(t, c, "local") == "v1" }))

	first.silent.Store(true)
	for i := range fleets {
		change(t, c, nameOf(i), "v2")
	}
	began := time.Now()
	change(t, c, "local", "v2")
	testkit.Eventually(t, "the fleet here goes on", func() bool { return version(t, c, "local") == "v2" })
	t.Logf("beside %d fleets in a cluster that is silent, a change took %s", fleets, time.Since(began).Round(time.Millisecond))
	testkit.Eventually(t, "the fleets of the silent cluster say so", all(func(name string) bool { return degraded(t, c, name) == v1alpha1.ReasonClusterUnreachable }))
	connect(t, c, there, road(), true)
	testkit.Eventually(t, "what was changed meanwhile is done there", all(func(name string) bool { return version(t, far, name) == "v2" }))

	connectionGoesFirst(t, c, far, func() { connect(t, c, there, road(), false) })
	for message := range toldBy(o) {
		if strings.Contains(message, "the connection was replaced") {
			t.Errorf("a connection that is replaced is told as a fault: %s", message)
		}
	}
	if n := forbidden.Load(); n > 0 {
		t.Errorf("%d requests were forbidden", n)
	}
	o.stop()
	if err := <-o.ended; err != nil {
		t.Error(err)
	}
}

// connectionGoesFirst deletes a connection and its Secret before a fleet, and has both come back.
func connectionGoesFirst(t *testing.T, c, far client.Client, again func()) {
	t.Helper()
	about := metav1.ObjectMeta{Namespace: "default", Name: "west"}
	if err := errors.Join(c.Delete(t.Context(), &v1alpha1.ClusterConnection{ObjectMeta: about}), c.Delete(t.Context(), &corev1.Secret{ObjectMeta: about})); err != nil {
		t.Fatal(err)
	}
	fleet := pretended(nameOf(0))
	if err := c.Delete(t.Context(), fleet); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the fleet says what it waits for", func() bool {
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(fleet), fleet); err != nil {
			t.Fatal(err)
		}
		d := meta.FindStatusCondition(fleet.Status.Conditions, string(v1alpha1.ConditionDegraded))
		return d != nil && strings.Contains(d.Message, "the fleet is deleted once") && strings.Contains(d.Message, "there is no such ClusterConnection")
	})
	if version(t, far, fleet.Name) == "" {
		t.Error("who deleted it?")
	}
	again()
	testkit.Eventually(t, "the fleet and all that it had there are gone", func() bool {
		return apierrors.IsNotFound(c.Get(t.Context(), client.ObjectKeyFromObject(fleet), fleet)) && left(t, far, fleet.Name) == ""
	})
}

// connect makes the connection west to a cluster, or gives it another Secret.
func connect(t *testing.T, c client.Client, config *rest.Config, by *road, again bool) {
	t.Helper()
	kubeconfig, err := clientcmd.Write(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"k": {Server: "https://" + by.Addr().String(), CertificateAuthorityData: config.CAData}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"u": {ClientCertificateData: config.CertData, ClientKeyData: config.KeyData, Impersonate: by.as}},
		Contexts:       map[string]*clientcmdapi.Context{"c": {Cluster: "k", AuthInfo: "u"}},
		CurrentContext: "c",
	})
	if err != nil {
		t.Fatal(err)
	}
	about := metav1.ObjectMeta{Namespace: "default", Name: "west", Labels: map[string]string{v1alpha1.KubeconfigLabel: "true"}}
	secret := &corev1.Secret{ObjectMeta: about, Data: map[string][]byte{"kubeconfig": kubeconfig}}
	if again {
		err = c.Update(t.Context(), secret)
	} else {
		err = errors.Join(c.Create(t.Context(), secret), c.Create(t.Context(), &v1alpha1.ClusterConnection{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "west"}, Spec: v1alpha1.ClusterConnectionSpec{SecretRef: &v1alpha1.KubeconfigRef{Name: "west"}},
		}))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// version is that of a fleet's Deployment in a cluster; empty: there is none.
func version(t *testing.T, c client.Client, fleet string) string {
	t.Helper()
	var d appsv1.Deployment
	switch err := c.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: fleet}, &d); {
	case client.IgnoreNotFound(err) != nil:
		t.Fatal(err)
	case err != nil:
		return ""
	}
	return d.Spec.Template.Spec.Containers[0].Image[len("gridrouter:"):]
}

func degraded(t *testing.T, c client.Client, fleet string) v1alpha1.Reason {
	t.Helper()
	var f v1alpha1.GridRouter
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: fleet}, &f); err != nil {
		t.Fatal(err)
	}
	if c := meta.FindStatusCondition(f.Status.Conditions, string(v1alpha1.ConditionDegraded)); c != nil {
		return v1alpha1.Reason(c.Reason)
	}
	return ""
}

func change(t *testing.T, c client.Client, fleet, version string) {
	t.Helper()
	var f v1alpha1.GridRouter
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: fleet}, &f); err != nil {
		t.Fatal(err)
	}
	patch := []byte(fmt.Sprintf(`{"spec": {"version": %q}}`, version))
	if err := c.Patch(t.Context(), &f, client.RawPatch("application/merge-patch+json", patch)); err != nil {
		t.Fatal(err)
	}
}

// left says what of a fleet is still in a cluster.
func left(t *testing.T, c client.Client, fleet string) string {
	t.Helper()
	text := ""
	for _, list := range []client.ObjectList{&appsv1.DeploymentList{}, &appsv1.ControllerRevisionList{}, &corev1.ServiceList{}, &corev1.ServiceAccountList{}, &corev1.SecretList{}} {
		if err := c.List(t.Context(), list, client.InNamespace("default"), client.MatchingLabels{"gridrouter.io/fleet": fleet}); err != nil {
			t.Fatal(err)
		}
		if n := meta.LenList(list); n > 0 {
			text += fmt.Sprintf("%T: %d ", list, n)
		}
	}
	return text
}
