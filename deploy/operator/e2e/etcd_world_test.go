package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gridrouter.io/deploy/api/v1alpha1"
)

// The versions of etcd that the testbed has images of.
const (
	etcdOld = "3.6.16"
	etcdNew = "3.7.3"
)

// etcdWorld is a world with an etcd cluster of the operator's.
type etcdWorld struct {
	*world
	name string
}

func newEtcdWorld(t *testing.T, version string, replicas int32, edit func(*v1alpha1.EtcdClusterSpec)) *etcdWorld {
	t.Helper()
	w := &etcdWorld{world: newWorld(t), name: "store"}
	c := &v1alpha1.EtcdCluster{
		ObjectMeta: metav1.ObjectMeta{Name: w.name},
		Spec: v1alpha1.EtcdClusterSpec{
			Version: version, Replicas: &replicas, Storage: v1alpha1.EtcdStorage{Size: resource.MustParse("1Gi")},
		},
	}
	if edit != nil {
		edit(&c.Spec)
	}
	t.Cleanup(func() {
		if t.Failed() {
			w.describeEtcd()
		}
	})
	w.create(c)
	return w
}

// kubectlIn runs kubectl in a namespace.
func kubectlIn(ctx context.Context, namespace string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, "kubectl", append([]string{"-n", namespace}, args...)...).CombinedOutput()
	return string(out), err
}

// describeEtcd logs what a person would look at after a failure.
func (w *etcdWorld) describeEtcd() {
	for _, args := range [][]string{
		{"get", "etcdclusters,etcdmembers,pods,pvc,pdb", "-o", "wide"}, {"get", "etcdclusters,etcdmembers", "-o", "yaml"},
		{"get", "events.events.k8s.io", "--sort-by=.metadata.creationTimestamp"}, {"logs", "-l", "gridrouter.io/etcd-cluster=" + w.name, "--tail=15", "--prefix", "--all-containers"},
		{"describe", "pods"},
	} {
		out, err := exec.Command("kubectl", append([]string{"-n", w.namespace}, args...)...).CombinedOutput()
		w.Logf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func (w *etcdWorld) cluster() *v1alpha1.EtcdCluster {
	w.Helper()
	c := &v1alpha1.EtcdCluster{}
	if err := w.client.Get(w.Context(), client.ObjectKey{Namespace: w.namespace, Name: w.name}, c); err != nil {
		w.Fatal(err)
	}
	return c
}

// changeEtcd changes the spec of the cluster.
func (w *etcdWorld) changeEtcd(edit func(*v1alpha1.EtcdClusterSpec)) {
	w.Helper()
	w.eventually("the change of the cluster", func() error {
		c := w.cluster()
		edit(&c.Spec)
		return w.client.Update(w.Context(), c)
	})
}

func (w *etcdWorld) scaleEtcd(replicas int32) time.Duration {
	w.Helper()
	began := time.Now()
	w.changeEtcd(func(spec *v1alpha1.EtcdClusterSpec) { spec.Replicas = &replicas })
	w.whole(replicas)
	return time.Since(began).Round(100 * time.Millisecond)
}

// whole waits until the cluster is what its spec says, with so many members, all healthy.
func (w *etcdWorld) whole(replicas int32) *v1alpha1.EtcdCluster {
	w.Helper()
	w.etcdSays(v1alpha1.ConditionProgressing, v1alpha1.ReasonComplete)
	c := w.cluster()
	if c.Status.Replicas != replicas || c.Status.Healthy != replicas || c.Status.Leader == "" {
		w.Fatalf("%d members, %d healthy, leader %q, wanted %d", c.Status.Replicas, c.Status.Healthy, c.Status.Leader, replicas)
	}
	return c
}

// etcdSays waits until a condition of the cluster has a reason, for the present spec.
func (w *etcdWorld) etcdSays(kind v1alpha1.ConditionType, reason v1alpha1.Reason) *metav1.Condition {
	w.Helper()
	var c *metav1.Condition
	w.eventually(fmt.Sprintf("%s is %s", kind, reason), func() error {
		cluster := w.cluster()
		c = meta.FindStatusCondition(cluster.Status.Conditions, string(kind))
		if c == nil || c.Reason != string(reason) || c.ObservedGeneration != cluster.Generation {
			return fmt.Errorf("generation %d, step %q, condition %+v", cluster.Generation, cluster.Status.Step, c)
		}
		return nil
	})
	return c
}

// member returns the pod of a member.
func (w *etcdWorld) member(name string) *corev1.Pod {
	w.Helper()
	pod := &corev1.Pod{}
	if err := w.client.Get(w.Context(), client.ObjectKey{Namespace: w.namespace, Name: name}, pod); err != nil {
		w.Fatal(err)
	}
	return pod
}

// dial returns a client of the cluster's Service.
func (w *etcdWorld) dial() *clientv3.Client {
	w.Helper()
	scheme, secured := "http", (*tls.Config)(nil)
	if w.cluster().Spec.TLS.Mode != v1alpha1.EtcdTLSOff {
		scheme, secured = "https", w.clientTLS()
	}
	c, err := clientv3.New(clientv3.Config{
		Endpoints: []string{scheme + "://" + w.host(w.name+"-client") + ":2379"}, TLS: secured, DialTimeout: 2 * time.Second, DialKeepAliveTime: 2 * time.Second,
		DialKeepAliveTimeout: 2 * time.Second, Logger: zap.NewNop(),
	})
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = c.Close() })
	return c
}

// clientTLS is what clients find in their Secret, read anew at each handshake.
func (w *etcdWorld) clientTLS() *tls.Config {
	w.Helper()
	read := func() (*corev1.Secret, error) {
		s := &corev1.Secret{}
		err := w.client.Get(w.Context(), client.ObjectKey{Namespace: w.namespace, Name: w.name + ".user.client"}, s)
		return s, err
	}
	w.eventually("clients have a certificate", func() error { _, err := read(); return err })
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			s, err := read()
			if err != nil {
				return nil, err
			}
			pair, err := tls.X509KeyPair(s.Data["tls.crt"], s.Data["tls.key"])
			return &pair, err
		},
		InsecureSkipVerify: true, // VerifyConnection does it, by what the Secret has then
		VerifyConnection: func(state tls.ConnectionState) error {
			s, err := read()
			if err != nil {
				return err
			}
			roots, between := x509.NewCertPool(), x509.NewCertPool()
			roots.AppendCertsFromPEM(s.Data["ca.crt"])
			for _, cert := range state.PeerCertificates[1:] {
				between.AddCert(cert)
			}
			_, err = state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, DNSName: w.host(w.name + "-client")})
			return err
		},
	}
}

// ledger writes to a cluster without a pause, watches what is written, and holds one against the other.
type ledger struct {
	w    *etcdWorld
	etcd *clientv3.Client
	stop context.CancelFunc
	over sync.WaitGroup

	mu           sync.Mutex
	acknowledged map[string]string
	refused      int
	longest      time.Duration
	lastGood     time.Time
	seen         map[string]string
	revision     int64 // of the last event
	faults       []string
}

const ledgerPrefix = "/ledger/"

// follow begins a ledger once the cluster answers.
func (w *etcdWorld) follow() *ledger {
	w.Helper()
	l := &ledger{w: w, etcd: w.dial(), acknowledged: map[string]string{}, seen: map[string]string{}}
	w.eventually("the cluster answers", func() error {
		ctx, cancel := context.WithTimeout(w.Context(), 2*time.Second)
		defer cancel()
		_, err := l.etcd.Put(ctx, ledgerPrefix+"first", "0")
		return err
	})
	l.acknowledged[ledgerPrefix+"first"], l.lastGood = "0", time.Now()
	ctx, stop := context.WithCancel(w.Context())
	l.stop = stop
	w.Cleanup(func() { stop(); l.over.Wait() })
	l.over.Go(func() { l.write(ctx) })
	l.over.Go(func() { l.watch(ctx) })
	return l
}

func (l *ledger) write(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		key, value := fmt.Sprintf("%s%d", ledgerPrefix, n%500), fmt.Sprint(n)
		within, cancel := context.WithTimeout(ctx, 2*time.Second)
		_, err := l.etcd.Put(within, key, value)
		cancel()
		l.mu.Lock()
		if err == nil {
			l.longest = max(l.longest, time.Since(l.lastGood))
			l.acknowledged[key], l.lastGood = value, time.Now()
		} else if ctx.Err() == nil {
			l.refused++
			delete(l.acknowledged, key) // it may be written or not
		}
		l.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// watch sees every event once, in order, across all that happens to members.
func (l *ledger) watch(ctx context.Context) {
	next := int64(1)
	for ctx.Err() == nil {
		watching, cancel := context.WithCancel(ctx)
		for answer := range l.etcd.Watch(watching, ledgerPrefix, clientv3.WithPrefix(), clientv3.WithRev(next)) {
			l.mu.Lock()
			if err := answer.Err(); err != nil {
				l.faults = append(l.faults, "the watch ended: "+err.Error())
			}
			for _, event := range answer.Events {
				if event.Kv.ModRevision < next {
					l.faults = append(l.faults, fmt.Sprintf("an event of revision %d came after %d", event.Kv.ModRevision, next-1))
				}
				next = event.Kv.ModRevision + 1
				l.seen[string(event.Kv.Key)], l.revision = string(event.Kv.Value), event.Kv.ModRevision
			}
			l.mu.Unlock()
		}
		cancel()
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// mark begins a new measurement of the longest pause.
func (l *ledger) mark() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.longest, l.refused, l.lastGood = 0, 0, time.Now()
}

// pause tells the longest time without an acknowledged write since the mark, and how many were refused.
func (l *ledger) pause() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Sprintf("longest pause of writes %s, %d refused", max(l.longest, time.Since(l.lastGood)).Round(time.Millisecond), l.refused)
}

// settle ends the writing, and wants all that was acknowledged to be there, and seen.
func (l *ledger) settle() {
	l.w.Helper()
	defer l.over.Wait()
	defer l.stop()
	var wrong error
	l.w.eventually("what was acknowledged is read and was seen", func() error {
		ctx, cancel := context.WithTimeout(l.w.Context(), 5*time.Second)
		defer cancel()
		l.mu.Lock()
		want := make(map[string]string, len(l.acknowledged))
		for key, value := range l.acknowledged {
			want[key] = value
		}
		l.mu.Unlock()
		answer, err := l.etcd.Get(ctx, ledgerPrefix, clientv3.WithPrefix())
		if err != nil {
			return err
		}
		there := map[string]string{}
		for _, kv := range answer.Kvs {
			there[string(kv.Key)] = string(kv.Value)
		}
		wrong = nil
		for key, value := range want {
			if older(there[key], value) {
				wrong = fmt.Errorf("LOST: %s was acknowledged as %s, and is %q", key, value, there[key])
			}
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		for key, value := range want {
			if wrong == nil && older(l.seen[key], value) {
				return fmt.Errorf("UNSEEN: %s was acknowledged as %s, and the watcher saw %q", key, value, l.seen[key])
			}
		}
		return nil
	})
	if wrong != nil {
		l.w.Error(wrong)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.faults) > 0 {
		l.w.Errorf("the watcher: %s", strings.Join(l.faults[:min(5, len(l.faults))], "; "))
	}
}

// held wants all that was acknowledged to be there, after the ledger's end.
func (l *ledger) held() {
	l.w.Helper()
	ctx, cancel := context.WithTimeout(l.w.Context(), 20*time.Second)
	defer cancel()
	answer, err := l.etcd.Get(ctx, ledgerPrefix, clientv3.WithPrefix())
	if err != nil {
		l.w.Fatal(err)
	}
	there := map[string]string{}
	for _, kv := range answer.Kvs {
		there[string(kv.Key)] = string(kv.Value)
	}
	lost := 0
	for key, value := range l.acknowledged {
		if older(there[key], value) {
			lost++
		}
	}
	l.w.Logf("%d of %d acknowledged values are lost", lost, len(l.acknowledged))
	if lost > 0 {
		l.w.Error("LOST")
	}
}

// older says whether a number is missing or less than another.
func older(a, b string) bool {
	var x, y int
	if _, err := fmt.Sscan(a, &x); err != nil {
		return true
	}
	_, _ = fmt.Sscan(b, &y)
	return x < y
}

// names are those of the members, in order.
func names(c *v1alpha1.EtcdCluster) []string {
	all := make([]string, 0, len(c.Status.Members))
	for i := range c.Status.Members {
		all = append(all, c.Status.Members[i].Name)
	}
	slices.Sort(all)
	return all
}
