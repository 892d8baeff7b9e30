package e2e

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gridrouter.io/deploy/api/v1alpha1"
)

// event waits for an event with a reason, and returns what it says.
func (w *etcdWorld) event(reason string) string {
	w.Helper()
	note := ""
	w.eventually("the event "+reason, func() error {
		var all eventsv1.EventList
		if err := w.client.List(w.Context(), &all, client.InNamespace(w.namespace)); err != nil {
			return err
		}
		for i := range all.Items {
			if all.Items[i].Reason == reason && all.Items[i].Regarding.Name == w.name {
				note = all.Items[i].Note
				return nil
			}
		}
		return errorf("%d other events", len(all.Items))
	})
	return note
}

// put writes a value that takes a second at most, unless the cluster has an election.
func put(ctx context.Context, etcd *clientv3.Client, key, value string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_, err := etcd.Put(ctx, key, value)
	return err
}

func TestE2EKubeEtcdSpaceIsRelievedWhileItIsWritten(t *testing.T) {
	t.Parallel()
	quota := resource.MustParse("16Mi")
	w := newEtcdWorld(t, etcdNew, 3, func(spec *v1alpha1.EtcdClusterSpec) { spec.Options.QuotaBytes = &quota })
	w.whole(3)
	l := w.follow()
	etcd, value := w.dial(), strings.Repeat("v", 256<<10)
	l.mark()
	written, full := 0, time.Time{}
	w.eventually("the quota is reached", func() error {
		switch err := put(t.Context(), etcd, "/churn", value); {
		case errors.Is(err, rpctypes.ErrNoSpace):
			full = time.Now()
			return nil
		case err != nil:
			return err
		}
		written++
		return errorf("%d writes were taken", written)
	})
	w.eventually("the writer goes on", func() error { return put(t.Context(), etcd, "/churn", value) })
	t.Logf("%d values of 256 KiB filled it, and it was relieved in %s; %s", written, time.Since(full).Round(100*time.Millisecond), l.pause())
	t.Log(w.event("Relieved"))
	w.etcdSays(v1alpha1.ConditionDegraded, v1alpha1.ReasonAsExpected)
	l.mark()
	w.eventually("the ledger goes on", func() error {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.longest == 0 {
			return errorf("%d more were refused", l.refused)
		}
		return nil
	})
	l.settle()
}

func TestE2EKubeEtcdSpaceThatIsFreeIsGivenBackBySchedule(t *testing.T) {
	if testing.Short() {
		t.Skip("make e2e-kube ARGS=--long runs it")
	}
	t.Parallel()
	w := newEtcdWorld(t, etcdNew, 3, nil)
	w.whole(3)
	l := w.follow()
	etcd, value := w.dial(), strings.Repeat("v", 256<<10)
	for range 60 {
		w.eventually("a value is written", func() error { return put(t.Context(), etcd, "/churn", value) })
	}
	w.eventually("the history is compacted", func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		answer, err := etcd.Get(ctx, "/churn", clientv3.WithCountOnly())
		if err != nil {
			return err
		}
		_, err = etcd.Compact(ctx, answer.Header.Revision-1, clientv3.WithCompactPhysical())
		return err
	})
	l.mark()
	began, above := time.Now(), resource.MustParse("4Mi")
	w.changeEtcd(func(spec *v1alpha1.EtcdClusterSpec) {
		spec.Defrag = &v1alpha1.EtcdDefrag{Schedule: "* * * * *", FreeAbove: &above}
	})
	w.eventually("the members were defragmented", func() error {
		c := w.cluster()
		if last := c.Status.LastDefrag; last == nil || last.FreedBytes < 3*above.Value() || last.Problem != "" {
			return errorf("last %+v, next %v", last, c.Status.NextDefrag)
		}
		return nil
	})
	c := w.cluster()
	t.Logf("after %s: %d bytes were freed; next at %v; %s", time.Since(began).Round(time.Second), c.Status.LastDefrag.FreedBytes, c.Status.NextDefrag, l.pause())
	if next := c.Status.NextDefrag; next == nil || !next.After(c.Status.LastDefrag.At.Time) {
		t.Errorf("the next time is %v, after one at %v", next, c.Status.LastDefrag.At)
	}
	t.Log(w.event("Defragmented"))
	w.changeEtcd(func(spec *v1alpha1.EtcdClusterSpec) { spec.Defrag.Schedule = "0 0 30 2 *" })
	t.Log(w.etcdSays(v1alpha1.ConditionDegraded, v1alpha1.ReasonBadSchedule).Message)
	l.settle()
}
