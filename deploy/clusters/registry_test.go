package clusters_test

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/deploy/clusters"
)

func testLocal(t *testing.T, s *servers) {
	b := newBench(t, s, clusters.Options{})
	local, err := b.registry.Cluster(t.Context(), b.namespace, "")
	if err != nil || local.Remote || local.Client != b.manager.GetClient() {
		t.Errorf("the empty name is %+v, %v", local, err)
	}
	b.connection("here", "")
	here := b.reached("here")
	if here.Remote || here.Client != b.manager.GetClient() {
		t.Errorf("a connection in cluster is %+v", here)
	}
	if status := b.status("here", v1alpha1.ReasonReachable); !status.Reachable || status.Version == "" || status.Latency == nil || status.Since == nil {
		t.Errorf("its status is %+v", status)
	}
}

func testLazy(t *testing.T, s *servers) {
	b := newBench(t, s, clusters.Options{})
	token := b.user("probed")
	g := b.gateway()
	b.secret("probed", b.kubeconfig(g.address, token), true)
	b.connection("probed", "probed")
	// Who may read nothing is enough: a connection that nobody uses reads nothing.
	status := b.status("probed", v1alpha1.ReasonReachable)
	if !strings.HasPrefix(status.Version, "v1.") || status.ObservedGeneration != 1 {
		t.Errorf("the status is %+v", status)
	}

	b.connected("used")
	used := b.reached("used")
	if !used.Remote {
		t.Error("a remote cluster is said not to be remote")
	}
	b.create(b.far, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "uncached", Namespace: b.namespace}})
	if _, err := clusters.Get[corev1.ConfigMap](t.Context(), used.Client, b.namespace, "uncached"); err != nil {
		t.Errorf("a kind that is not watched: %v", err)
	}
	if list, err := clusters.List[appsv1.DeploymentList](t.Context(), used.Client, b.namespace); err != nil || len(list.Items) != 0 {
		t.Errorf("a kind that is watched: %v, %v", list, err)
	}
}

func testRotation(t *testing.T, s *servers) {
	b := newBench(t, s, clusters.Options{})
	old := b.connected("west")
	before := b.reached("west")

	next := b.gateway()
	b.secret("west", b.kubeconfig(next.address, b.user("west-2", all...)), true)
	testkit.Eventually(t, "the old connection has no socket left", func() bool { now, _ := old.counts(); return now == 0 })
	_, err := clusters.Get[corev1.ConfigMap](t.Context(), before.Live, b.namespace, "any")
	if err == nil || apierrors.IsNotFound(err) {
		t.Errorf("the old credentials are still used: %v", err)
	}
	after := b.reached("west")
	if _, err := clusters.Get[corev1.ConfigMap](t.Context(), after.Live, b.namespace, "any"); !apierrors.IsNotFound(err) {
		t.Errorf("by the new credentials: %v", err)
	}
	if _, ever := next.counts(); ever == 0 {
		t.Error("the new address is not used")
	}
	if b.noted(&b.connections, "west") == 0 {
		t.Error("nobody was told")
	}

	// The same content, written again, replaces nothing.
	told := b.noted(&b.connections, "west")
	secret, err := clusters.Get[corev1.Secret](t.Context(), b.there, b.namespace, "west")
	if err != nil {
		t.Fatal(err)
	}
	secret.Annotations = map[string]string{"touched": "true"}
	if err := b.there.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	b.secret("marker", b.kubeconfig(next.address, "x"), true)
	b.connection("marker", "marker")
	b.status("marker", v1alpha1.ReasonUnauthorized)
	if again := b.reached("west"); again.Client != after.Client || b.noted(&b.connections, "west") != told {
		t.Error("a Secret with the same kubeconfig replaced the cluster")
	}

	// An account that is deleted is refused, and another one brings the cluster back.
	if err := b.far.Delete(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "west-2", Namespace: b.namespace}}); err != nil {
		t.Fatal(err)
	}
	b.status("west", v1alpha1.ReasonUnauthorized)
	_, err = b.registry.Cluster(t.Context(), b.namespace, "west")
	isUnreachable(t, err, v1alpha1.ReasonUnauthorized, "it refuses the credentials")
	b.secret("west", b.kubeconfig(next.address, b.user("west-3", all...)), true)
	b.status("west", v1alpha1.ReasonReachable)
	b.reached("west")
	b.keepsSecrets()
}

// keepsSecrets looks for tokens in what was logged and in the statuses.
func (b *bench) keepsSecrets() {
	b.t.Helper()
	b.log.mu.Lock()
	defer b.log.mu.Unlock()
	if len(b.log.text) == 0 {
		b.t.Error("nothing was logged")
	}
	for _, line := range b.log.text {
		if strings.Contains(line, "eyJ") {
			b.t.Errorf("a token is in the log: %s", line)
		}
	}
}

func testOutage(t *testing.T, s *servers) {
	b := newBench(t, s, clusters.Options{})
	g := b.connected("west")
	before := b.reached("west")
	b.status("west", v1alpha1.ReasonReachable)

	g.close()
	status := b.status("west", v1alpha1.ReasonUnreachable)
	if status.Reachable || !strings.Contains(status.Conditions[0].Message, "connection refused") {
		t.Errorf("the status is %+v", status)
	}
	_, err := b.registry.Cluster(t.Context(), b.namespace, "west")
	isUnreachable(t, err, v1alpha1.ReasonUnreachable, "connection refused")
	told := b.noted(&b.connections, "west")

	b.create(b.far, deployment(b.namespace, "meanwhile", "edge"))
	g.open()
	testkit.Eventually(t, "it is told that the cluster came back", func() bool { return b.noted(&b.connections, "west") > told })
	after := b.reached("west")
	if after.Client == before.Client {
		t.Error("the caches from before the outage are read")
	}
	if _, err := clusters.Get[appsv1.Deployment](t.Context(), after.Client, b.namespace, "meanwhile"); err != nil {
		t.Errorf("what was made meanwhile: %v", err)
	}
	if status := b.status("west", v1alpha1.ReasonReachable); !status.Reachable {
		t.Errorf("the status is %+v", status)
	}
}

func testMove(t *testing.T, s *servers) {
	b := newBench(t, s, clusters.Options{})
	g := b.connected("west")
	b.reached("west")
	g.close()
	b.status("west", v1alpha1.ReasonUnreachable)
	moved := b.gateway()
	b.secret("west", b.kubeconfig(moved.address, b.user("moved", all...)), true)
	b.reached("west")
	b.status("west", v1alpha1.ReasonReachable)
}

func testSilence(t *testing.T, s *servers) {
	b := newBench(t, s, clusters.Options{Wait: 100 * time.Millisecond, RequestTimeout: 300 * time.Millisecond})
	g := b.gateway()
	g.fallSilent()
	b.secret("silent", b.kubeconfig(g.address, "token"), true)
	b.connection("silent", "silent")
	b.connected("fine")
	b.reached("fine")
	// Many who ask, at once and one after the other: who waited once does not wait again.
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
	defer cancel()
	var askers sync.WaitGroup
	for range 20 {
		askers.Go(func() {
			for range 50 {
				if _, err := b.registry.Cluster(ctx, b.namespace, "silent"); err == nil {
					t.Error("a silent cluster is reachable")
				}
			}
		})
	}
	askers.Wait()
	if ctx.Err() != nil {
		t.Errorf("asking a silent cluster took more than %s", testkit.Patience)
	}
	if status := b.status("silent", v1alpha1.ReasonUnreachable); !strings.Contains(status.Conditions[0].Message, "does not answer in time") {
		t.Errorf("the status is %+v", status)
	}
	b.reached("fine")

	// One that falls silent later.
	later := b.connected("later")
	b.reached("later")
	later.fallSilent()
	b.status("later", v1alpha1.ReasonUnreachable)
	b.reached("fine")
}

func testForbidden(t *testing.T, s *servers) {
	b := newBench(t, s, clusters.Options{Wait: 500 * time.Millisecond})
	g := b.gateway()
	b.secret("poor", b.kubeconfig(g.address, b.user("poor")), true)
	b.connection("poor", "poor")
	var err error
	testkit.Eventually(t, "it is said what is forbidden", func() bool {
		_, err = b.registry.Cluster(t.Context(), b.namespace, "poor")
		return err != nil && strings.Contains(err.Error(), "forbidden")
	})
	isUnreachable(t, err, v1alpha1.ReasonUnreachable, "cannot list resource")
	told := b.noted(&b.connections, "poor")

	// Rights that are granted later help without a change of the connection.
	b.grant("poor", all)
	testkit.Eventually(t, "it is told that the caches are filled", func() bool { return b.noted(&b.connections, "poor") > told })
	b.reached("poor")
}

func testDeletion(t *testing.T, s *servers) {
	b := newBench(t, s, clusters.Options{})
	g := b.connected("west")
	b.reached("west")
	c, err := clusters.Get[v1alpha1.ClusterConnection](t.Context(), b.there, b.namespace, "west")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.there.Delete(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the connection has no socket left", func() bool { now, _ := g.counts(); return now == 0 })
	_, err = b.registry.Cluster(t.Context(), b.namespace, "west")
	isUnreachable(t, err, v1alpha1.ReasonUnreachable, "there is no such ClusterConnection")
	// Made again, it works again.
	b.connection("west", "west")
	b.reached("west")

	// Without its Secret it is stopped as well.
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "west", Namespace: b.namespace}}
	if err := b.there.Delete(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	b.status("west", v1alpha1.ReasonSecretMissing)
	testkit.Eventually(t, "the connection has no socket left", func() bool { now, _ := g.counts(); return now == 0 })
}

func testTwo(t *testing.T, s *servers) {
	b := newBench(t, s, clusters.Options{})
	one, two := b.connected("one"), b.connected("two")
	first, second := b.reached("one"), b.reached("two")
	if first.Client == second.Client {
		t.Error("two connections share a client, and by that credentials")
	}
	one.close()
	b.status("one", v1alpha1.ReasonUnreachable)
	b.reached("two")
	if now, _ := two.counts(); now == 0 {
		t.Error("the second connection has no socket of its own")
	}
}

func testReasons(t *testing.T, s *servers) {
	b := newBench(t, s, clusters.Options{})
	g := b.gateway()
	good := b.kubeconfig(g.address, b.user("good", all...))
	for _, row := range []struct {
		name       string
		kubeconfig []byte // nil: no Secret
		unlabelled bool
		reason     v1alpha1.Reason
		message    string
	}{
		{"missing", nil, false, v1alpha1.ReasonSecretMissing, "there is no Secret missing"},
		{"unlabelled", good, true, v1alpha1.ReasonSecretUnlabelled, "lacks the label gridrouter.io/kubeconfig"},
		{"invalid", []byte("a: b"), false, v1alpha1.ReasonKubeconfigInvalid, "the kubeconfig cannot be used"},
		{"program", bytes.Replace(good, []byte("    token:"), []byte("    exec: {apiVersion: client.authentication.k8s.io/v1, command: id, interactiveMode: Never}\n    token:"), 1), false, v1alpha1.ReasonKubeconfigInvalid, "exec names a program"},
		{"clear", bytes.Replace(good, []byte("https://"), []byte("http://"), 1), false, v1alpha1.ReasonKubeconfigInvalid, "must begin with https://"},
		{"unauthorized", b.kubeconfig(g.address, "wrong"), false, v1alpha1.ReasonUnauthorized, "it refuses the credentials"},
		{"stranger", b.kubeconfig(strings.TrimPrefix(s.local.Host, "https://"), "wrong"), false, v1alpha1.ReasonUnreachable, "not signed by a known CA"},
		{"nowhere", b.kubeconfig("127.0.0.1:1", "wrong"), false, v1alpha1.ReasonUnreachable, "connection refused"},
		{"good", good, false, v1alpha1.ReasonReachable, "the cluster answers"},
	} {
		if row.kubeconfig != nil {
			b.secret(row.name, row.kubeconfig, !row.unlabelled)
		}
		b.connection(row.name, row.name)
		status := b.status(row.name, row.reason)
		i := slices.IndexFunc(status.Conditions, func(c metav1.Condition) bool { return c.Type == string(v1alpha1.ConditionDegraded) })
		reachable := row.reason == v1alpha1.ReasonReachable
		if i < 0 || (status.Conditions[i].Status == metav1.ConditionFalse) != reachable || status.Reachable != reachable || status.Since == nil {
			t.Errorf("%s: %+v", row.name, status)
		}
		if !strings.Contains(status.Conditions[0].Message, row.message) {
			t.Errorf("%s: %q lacks %q", row.name, status.Conditions[0].Message, row.message)
		}
		_, err := b.registry.Cluster(t.Context(), b.namespace, row.name)
		if !reachable {
			isUnreachable(t, err, row.reason, row.message)
		}
	}
	b.mends()
	b.keepsSecrets()
}

// mends mends what was wrong, and sees it noticed.
func (b *bench) mends() {
	b.t.Helper()
	secret, err := clusters.Get[corev1.Secret](b.t.Context(), b.there, b.namespace, "unlabelled")
	if err != nil {
		b.t.Fatal(err)
	}
	b.secret("unlabelled", secret.Data["kubeconfig"], true)
	b.secret("missing", secret.Data["kubeconfig"], true)
	b.secret("invalid", secret.Data["kubeconfig"], true)
	for _, name := range []string{"unlabelled", "missing", "invalid"} {
		b.status(name, v1alpha1.ReasonReachable)
	}
	// A label that is taken away takes the cluster away.
	b.reached("unlabelled")
	b.secret("unlabelled", secret.Data["kubeconfig"], false)
	b.status("unlabelled", v1alpha1.ReasonSecretUnlabelled)
}

// testLimit uses up what one connection may ask.
func testLimit(t *testing.T, s *servers) {
	b := newBench(t, s, clusters.Options{QPS: 0.001, Burst: 40})
	b.connected("one")
	b.connected("two")
	one, two := b.reached("one"), b.reached("two")
	ask := func(c clusters.Cluster) error {
		ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
		defer cancel()
		_, err := clusters.Get[corev1.ConfigMap](ctx, c.Live, b.namespace, "any")
		return err
	}
	asked := 0
	for ; asked < 100; asked++ {
		if err := ask(one); !apierrors.IsNotFound(err) {
			if !strings.Contains(err.Error(), "rate limiter") {
				t.Errorf("request %d is answered by %v", asked, err)
			}
			break
		}
	}
	if asked == 0 || asked > 40 {
		t.Errorf("the connection may ask %d times", asked)
	}
	if err := ask(two); !apierrors.IsNotFound(err) {
		t.Errorf("another connection is limited as well: %v", err)
	}
	b.status("one", v1alpha1.ReasonReachable) // probes are not limited
}
