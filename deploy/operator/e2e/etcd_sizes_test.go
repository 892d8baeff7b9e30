package e2e

import (
	"context"
	"testing"
	"time"

	"gridrouter.io/deploy/api/v1alpha1"
)

func TestE2EKubeEtcdGrowsAndShrinksWhileItIsWritten(t *testing.T) {
	t.Parallel()
	began := time.Now()
	w := newEtcdWorld(t, etcdNew, 1, nil)
	l := w.follow()
	t.Logf("the first write after %s", time.Since(began).Round(100*time.Millisecond))
	id := w.whole(1).Status.ClusterID
	for _, size := range []int32{3, 5, 3, 1} {
		l.mark()
		took := w.scaleEtcd(size)
		t.Logf("to %d members: %s, %s", size, took, l.pause())
	}
	l.settle()
	if now := w.cluster().Status.ClusterID; now != id || id == "" {
		t.Errorf("the cluster was %s, and is %s", id, now)
	}
}

func TestE2EKubeEtcdIsUpgradedByAMinorVersion(t *testing.T) {
	if testing.Short() {
		t.Skip("make e2e-kube ARGS=--long runs it")
	}
	t.Parallel()
	w := newEtcdWorld(t, etcdOld, 3, nil)
	w.whole(3)
	l := w.follow()
	l.mark()
	began := time.Now()
	w.changeEtcd(func(spec *v1alpha1.EtcdClusterSpec) { spec.Version = etcdNew })
	w.whole(3)
	t.Logf("upgraded in %s, %s", time.Since(began).Round(100*time.Millisecond), l.pause())
	l.settle()
	w.eventually("the data is of the new version", func() error {
		if c := w.cluster(); c.Status.Version != etcdNew || c.Status.ClusterVersion != "3.7" {
			return errorf("version %s, data %s", c.Status.Version, c.Status.ClusterVersion)
		}
		return nil
	})
	c := w.cluster()
	c.Spec.Version = etcdOld
	if err := w.client.Update(w.Context(), c); err == nil {
		t.Error("the cluster may go back to a version that is older than its data")
	}
}

func TestE2EKubeEtcdHibernatesAndGoesOn(t *testing.T) {
	t.Parallel()
	w := newEtcdWorld(t, etcdNew, 3, nil)
	id := w.whole(3).Status.ClusterID
	etcd := w.dial()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := etcd.Put(ctx, "kept", "yes"); err != nil {
		t.Fatal(err)
	}
	none := int32(0)
	w.changeEtcd(func(spec *v1alpha1.EtcdClusterSpec) { spec.Replicas = &none })
	w.etcdSays(v1alpha1.ConditionProgressing, v1alpha1.ReasonHibernated)
	took := w.scaleEtcd(3)
	t.Logf("three members go on after %s", took)
	ctx, cancel = context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	answer, err := etcd.Get(ctx, "kept")
	if err != nil || len(answer.Kvs) != 1 {
		t.Errorf("what was written before is gone: %v %v", answer, err)
	}
	if now := w.cluster().Status.ClusterID; now != id {
		t.Errorf("the cluster was %s, and is %s", id, now)
	}
}

func TestE2EKubeEtcdTakesAVersionBackThatDoesNotComeUp(t *testing.T) {
	if testing.Short() {
		t.Skip("make e2e-kube ARGS=--long runs it")
	}
	t.Parallel()
	for _, size := range []int32{1, 3} {
		w := newEtcdWorld(t, etcdNew, size, func(spec *v1alpha1.EtcdClusterSpec) {
			spec.SelfHeal.ProgressDeadline = duration(15 * time.Second)
		})
		w.whole(size)
		l := w.follow()
		w.changeEtcd(func(spec *v1alpha1.EtcdClusterSpec) { spec.Version = "3.7.9999" })
		c := w.etcdSays(v1alpha1.ConditionDegraded, v1alpha1.ReasonUpdateRefused)
		t.Logf("%d members: %s", size, c.Message)
		w.etcdSays(v1alpha1.ConditionProgressing, v1alpha1.ReasonRolledBack)
		t.Logf("%d members: %s", size, l.pause())
		l.settle()
		w.changeEtcd(func(spec *v1alpha1.EtcdClusterSpec) { spec.Version = etcdNew })
		w.whole(size)
	}
}
