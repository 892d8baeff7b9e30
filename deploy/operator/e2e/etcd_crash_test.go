package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/deploy/operator"
)

var errKilled = errors.New("the operator was killed")

// dying is a transport that lets so many writes through and then none, and nothing else either, as if the process had
// been killed. With lost, the last write arrives, and its answer does not.
type dying struct {
	next  http.RoundTripper
	left  atomic.Int64
	dead  chan struct{}
	lost  bool
	last  atomic.Pointer[string]
	ended atomic.Bool
}

func (d *dying) RoundTrip(r *http.Request) (*http.Response, error) {
	if d.ended.Load() {
		return nil, errKilled
	}
	if r.Method == http.MethodGet || strings.Contains(r.URL.Path, "/leases/") || strings.HasSuffix(r.URL.Path, "/leases") ||
		strings.Contains(r.URL.Path, "/events") || strings.Contains(r.URL.Path, "endpointslices") || strings.Contains(r.URL.Path, "reviews") {
		return d.next.RoundTrip(r)
	}
	what := r.Method + " " + r.URL.Path
	switch left := d.left.Add(-1); {
	case left > 0 || left == 0 && !d.lost:
		d.last.Store(&what)
		return d.next.RoundTrip(r)
	case left == 0:
		d.last.Store(&what)
		answer, err := d.next.RoundTrip(r)
		if err == nil {
			_ = answer.Body.Close()
		}
	}
	if d.ended.CompareAndSwap(false, true) {
		close(d.dead)
	}
	return nil, errKilled
}

// operateUntil runs one operator after the other, each of which is killed at its second write, before it or before its
// answer, until the cluster is whole. It returns how many there were.
func (w *etcdWorld) operateUntil(done func() error) int {
	w.Helper()
	for n := range 400 {
		if done() == nil && n > 0 {
			return n
		}
		w.operateOnce(n%2 == 1, done)
	}
	w.Fatal("no end after 400 operators")
	return 0
}

func (w *etcdWorld) operateOnce(lost bool, done func() error) {
	w.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		w.Fatal(err)
	}
	config.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:gridrouter-system:gridrouter-operator"}
	d := &dying{dead: make(chan struct{}), lost: lost}
	d.left.Store(2)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { d.next = next; return d })
	ctx, stop := context.WithCancel(w.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() {
		ended <- operator.Run(ctx, operator.Config{
			Kubernetes: config, Namespace: "gridrouter-system", Watch: []string{w.namespace}, Image: "gridrouter", EtcdImage: "etcd",
			ToolsImage: "gridrouter:" + os.Getenv("GRIDROUTER_VERSION"), Log: zap.NewNop(),
			Election: operator.Election{Duration: 2 * time.Second, Renew: 1500 * time.Millisecond, Retry: 200 * time.Millisecond},
		})
	}()
	ticker := time.NewTicker(500 * time.Millisecond)
	defer ticker.Stop()
	began := time.Now()
	for {
		select {
		case <-d.dead:
		case <-ticker.C:
			if done() != nil && time.Since(began) < patience {
				continue
			}
		}
		break
	}
	stop()
	<-ended
}

// withoutOperators stops the installed operators while a test runs its own.
func (w *etcdWorld) withoutOperators() {
	w.Helper()
	w.kubectl("-n", "gridrouter-system", "scale", "deployment", "gridrouter-operator", "--replicas=0")
	w.kubectl("-n", "gridrouter-system", "wait", "--for=delete", "pod", "-l", "app.kubernetes.io/name=gridrouter-operator", "--timeout=120s")
	w.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(w.Context()), 3*time.Minute)
		defer cancel()
		for _, args := range [][]string{
			{"scale", "deployment", "gridrouter-operator", "--replicas=2"}, {"rollout", "status", "deployment", "gridrouter-operator", "--timeout=2m"},
		} {
			if out, err := kubectlIn(ctx, "gridrouter-system", args...); err != nil {
				w.Errorf("kubectl %v: %v\n%s", args, err, out)
			}
		}
	})
}

func TestE2EKubeEtcdBearsAnOperatorThatIsKilledAtEachWrite(t *testing.T) {
	w := newEtcdWorld(t, etcdOld, 1, nil)
	l := w.follow()
	id := w.whole(1).Status.ClusterID
	w.withoutOperators()
	steps := []struct {
		what string
		edit func(*v1alpha1.EtcdClusterSpec)
		size int32
	}{
		{"a scale-out from 1 to 3", func(spec *v1alpha1.EtcdClusterSpec) { *spec.Replicas = 3 }, 3},
		{"an upgrade by a minor version", func(spec *v1alpha1.EtcdClusterSpec) { spec.Version = etcdNew }, 3},
		{"a scale-in from 3 to 1", func(spec *v1alpha1.EtcdClusterSpec) { *spec.Replicas = 1 }, 1},
	}
	if testing.Short() {
		steps = steps[:1]
	}
	for _, step := range steps {
		l.mark()
		began := time.Now()
		w.changeEtcd(step.edit)
		n := w.operateUntil(func() error { return w.isWhole(step.size) })
		c := w.cluster()
		if c.Status.ClusterID != id {
			t.Fatalf("%s: the cluster was %s, and is %s", step.what, id, c.Status.ClusterID)
		}
		list, err := l.etcd.MemberList(t.Context())
		if err != nil || len(list.Members) != int(step.size) {
			t.Errorf("%s: etcd lists %v, %v", step.what, list, err)
		}
		t.Logf("%s: %d operators, %s; %s", step.what, n, time.Since(began).Round(100*time.Millisecond), l.pause())
	}
	l.settle()
}

// isWhole says by an error why the cluster is not what its spec says.
func (w *etcdWorld) isWhole(replicas int32) error {
	c := w.cluster()
	for i := range c.Status.Conditions {
		if at := &c.Status.Conditions[i]; at.Type == string(v1alpha1.ConditionProgressing) && at.Reason == string(v1alpha1.ReasonComplete) &&
			at.ObservedGeneration == c.Generation && c.Status.Healthy == replicas && c.Status.Replicas == replicas && c.Status.Version == c.Spec.Version {
			return nil
		}
	}
	return fmt.Errorf("step %q, %d of %d healthy", c.Status.Step, c.Status.Healthy, c.Status.Replicas)
}
