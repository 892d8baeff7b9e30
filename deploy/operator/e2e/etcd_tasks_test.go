package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gridrouter.io/deploy/api/v1alpha1"
)

// TestE2EKubeEtcdTasksSayAndDoWhatTheyAreAskedFor does each task on a cluster of three members with TLS.
func TestE2EKubeEtcdTasksSayAndDoWhatTheyAreAskedFor(t *testing.T) {
	t.Parallel()
	w := newEtcdWorld(t, etcdNew, 3, nil)
	w.whole(3)
	etcd := w.dial()
	w.tasksThatOnlyLook(etcd)
	w.tasksThatRemove(etcd)
	w.tasksThatFree(etcd)
	w.tasksAboutMembers()
	w.Logf("kubectl get etcdtasks\n%s", w.kubectl("get", "etcdtasks"))
}

// tasksThatOnlyLook wants a planted key to be found hot, and a healthy cluster to be told as one.
func (w *etcdWorld) tasksThatOnlyLook(etcd *clientv3.Client) {
	w.Helper()
	const planted = "/hot/planted"
	stop := w.writes(etcd, func(n int) string {
		if n%3 == 0 {
			return fmt.Sprintf("/hot/other/%d", n%100)
		}
		return planted
	})
	var hot struct {
		Top []struct {
			Key     string `json:"key"`
			Changes int64  `json:"changes"`
		} `json:"top"`
	}
	w.taskResult("hot", &hot, func(s *v1alpha1.EtcdTaskSpec) {
		s.HotKeys = &v1alpha1.EtcdTaskHotKeys{Prefix: "/hot/", For: duration(3 * time.Second), Top: 5}
	})
	stop()
	if len(hot.Top) == 0 || hot.Top[0].Key != planted || len(hot.Top) > 1 && hot.Top[0].Changes <= hot.Top[1].Changes {
		w.Errorf("the hottest keys are %+v, planted was %s", hot.Top, planted)
	}
	var same struct {
		Verdict string `json:"verdict"`
	}
	w.taskResult("same", &same, func(s *v1alpha1.EtcdTaskSpec) { s.Consistency = &v1alpha1.EtcdTaskConsistency{} })
	if same.Verdict != "Consistent" {
		w.Errorf("the members are %q", same.Verdict)
	}
	var report struct {
		Members  []map[string]any `json:"members"`
		Findings []struct {
			Reason, Severity, Plan string
		} `json:"findings"`
		Unknown []string `json:"unknown"`
	}
	w.taskResult("look", &report, func(s *v1alpha1.EtcdTaskSpec) { s.Inspect = &v1alpha1.EtcdTaskInspect{} })
	if len(report.Members) != 3 || len(report.Findings) == 0 || len(report.Unknown) > 0 {
		w.Errorf("the inspection says %+v", report)
	}
	for _, f := range report.Findings {
		if f.Severity == "Critical" || f.Plan == "" {
			w.Errorf("a healthy cluster has the finding %+v", f)
		}
	}
	var probe struct {
		Works bool `json:"works"`
	}
	w.taskResult("probe", &probe, func(s *v1alpha1.EtcdTaskSpec) { s.Probe = &v1alpha1.EtcdTaskProbe{} })
	if !probe.Works {
		w.Error("a probe of a healthy cluster fails")
	}
}

// tasksThatRemove wants a removal to be what its dry run said.
func (w *etcdWorld) tasksThatRemove(etcd *clientv3.Client) {
	w.Helper()
	const junk = 500
	for i := range junk {
		w.put(etcd, fmt.Sprintf("/junk/%d", i), "secret-value")
	}
	w.put(etcd, "/junkyard", "stays")
	var usage struct {
		Total struct{ Keys int64 } `json:"total"`
	}
	w.taskResult("usage", &usage, func(s *v1alpha1.EtcdTaskSpec) { s.PrefixUsage = &v1alpha1.EtcdTaskPrefixUsage{Prefix: "/junk/"} })
	var dry struct {
		Keys  int64  `json:"keys"`
		Token string `json:"token"`
	}
	w.taskResult("would-prune", &dry, func(s *v1alpha1.EtcdTaskSpec) { s.PrunePrefix = &v1alpha1.EtcdTaskPrunePrefix{Prefix: "/junk/"} })
	if count := w.count(etcd, "/junk/"); dry.Keys != junk || usage.Total.Keys != junk || count != junk {
		w.Errorf("the dry run saw %d keys, the usage %d, and %d are there, of %d", dry.Keys, usage.Total.Keys, count, junk)
	}
	var pruned struct {
		Deleted, Changed, New int64
		Done                  bool
	}
	w.taskResult("prune", &pruned, func(s *v1alpha1.EtcdTaskSpec) {
		s.PrunePrefix = &v1alpha1.EtcdTaskPrunePrefix{Prefix: "/junk/", DryRun: new(false), Token: dry.Token}
	})
	if pruned.Deleted != dry.Keys || pruned.Changed+pruned.New != 0 || !pruned.Done {
		w.Errorf("removed was %+v, and the dry run saw %d keys", pruned, dry.Keys)
	}
	if left, beside := w.count(etcd, "/junk/"), w.count(etcd, "/junkyard"); left != 0 || beside != 1 {
		w.Errorf("%d keys are left under the prefix, and %d beside it", left, beside)
	}
	if out := w.kubectl("get", "etcdtasks", "-o", "yaml"); strings.Contains(out, "secret-value") {
		w.Error("a task tells a value")
	}
}

// tasksThatFree wants compaction and defragmentation to give back what is not used.
func (w *etcdWorld) tasksThatFree(etcd *clientv3.Client) {
	w.Helper()
	for range 100 {
		w.put(etcd, "/large", strings.Repeat("x", 100<<10))
	}
	w.taskResult("compact", &struct{}{}, func(s *v1alpha1.EtcdTaskSpec) { s.Compact = &v1alpha1.EtcdTaskCompact{Keep: 1} })
	var freed struct {
		FreedBytes int64
		Done       bool
		Members    []map[string]any
	}
	w.taskResult("defragment", &freed, func(s *v1alpha1.EtcdTaskSpec) { s.Defragment = &v1alpha1.EtcdTaskDefragment{} })
	if freed.FreedBytes < 5<<20 || !freed.Done || len(freed.Members) != 3 {
		w.Errorf("freed was %+v", freed)
	}
}

// tasksAboutMembers has another member lead, and replaces one.
func (w *etcdWorld) tasksAboutMembers() {
	w.Helper()
	c := w.cluster()
	at := slices.IndexFunc(c.Status.Members, func(m v1alpha1.EtcdMemberSummary) bool { return m.Role == v1alpha1.EtcdFollower })
	if at < 0 {
		w.Fatalf("no member follows: %+v", c.Status.Members)
	}
	to, from := c.Status.Members[at].Name, c.Status.Leader
	w.taskResult("lead", &struct{}{}, func(s *v1alpha1.EtcdTaskSpec) { s.MoveLeader = &v1alpha1.EtcdTaskMoveLeader{To: to} })
	w.eventually("another member leads", func() error {
		if now := w.cluster().Status.Leader; now != to {
			return fmt.Errorf("%s leads, asked was for %s", now, to)
		}
		return nil
	})
	w.taskEnds("replace", func(s *v1alpha1.EtcdTaskSpec) { s.ReplaceMember = &v1alpha1.EtcdTaskReplaceMember{Name: from} })
	if after := names(w.whole(3)); slices.Contains(after, from) {
		w.Errorf("%s is still there: %v", from, after)
	}
}

// taskEnds has a task done, and wants it to succeed.
func (w *etcdWorld) taskEnds(name string, edit func(*v1alpha1.EtcdTaskSpec)) *v1alpha1.EtcdTask {
	w.Helper()
	t := &v1alpha1.EtcdTask{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.EtcdTaskSpec{Cluster: w.name}}
	edit(&t.Spec)
	began := time.Now()
	w.create(t)
	w.eventually("the task "+name+" has ended", func() error {
		if err := w.client.Get(w.Context(), client.ObjectKeyFromObject(t), t); err != nil {
			return err
		}
		if t.Status.EndedAt == nil {
			return fmt.Errorf("it is %s: %s", t.Status.State, t.Status.Message)
		}
		return nil
	})
	if t.Status.State != v1alpha1.EtcdTaskSucceeded {
		w.Fatalf("%s: %+v", name, t.Status)
	}
	w.Logf("%s: %s after %s: %s", name, t.Status.State, time.Since(began).Round(100*time.Millisecond), t.Status.Message)
	return t
}

// taskResult has a task done, and reads its result.
func (w *etcdWorld) taskResult(name string, result any, edit func(*v1alpha1.EtcdTaskSpec)) {
	w.Helper()
	t := w.taskEnds(name, edit)
	if t.Status.Result == nil {
		w.Fatalf("%s has no result", name)
	}
	if err := json.Unmarshal(t.Status.Result.Raw, result); err != nil {
		w.Fatal(err)
	}
}

func (w *etcdWorld) put(etcd *clientv3.Client, key, value string) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), 10*time.Second)
	defer cancel()
	if _, err := etcd.Put(ctx, key, value); err != nil {
		w.Fatal(err)
	}
}

func (w *etcdWorld) count(etcd *clientv3.Client, prefix string) int64 {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), 10*time.Second)
	defer cancel()
	answer, err := etcd.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		w.Fatal(err)
	}
	return answer.Count
}

// writes writes keys until it is stopped.
func (w *etcdWorld) writes(etcd *clientv3.Client, key func(n int) string) (stop func()) {
	ctx, cancel := context.WithCancel(w.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for n := 0; ctx.Err() == nil; n++ {
			_, _ = etcd.Put(ctx, key(n), "x") // what fails is written again
		}
	}()
	stop = func() { cancel(); <-ended }
	w.Cleanup(stop)
	return stop
}
