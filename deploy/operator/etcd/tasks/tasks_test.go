package tasks_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gridrouter.io/bench/testkit/kubetest"
	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/deploy/etcd/inspect/keyspace"
)

// TestTasksAreDoneOneAtATimeAndTold does tasks on a real API server and a real etcd.
func TestTasksAreDoneOneAtATimeAndTold(t *testing.T) {
	config := kubetest.Start(t)
	for name, test := range map[string]func(*world){
		"rejected": testWhatDoesNotFitIsRejected, "turns": testTheOldestIsFirstAndTheOthersWait, "waits": testWhatChangesWaitsForTheCluster,
		"ttl": testATaskIsDeletedAfterItsTime, "unchanged": testATaskCannotBeChanged, "anew": testATaskIsBegunAnewByTheNextOperator,
		"prune": testARemovalGoesOnAfterItsOperatorEnded, "places": testAFewTasksRunAtOnce, "gone": testATaskEndsWithItsCluster,
		"acts": testEveryActTellsWhatCameOfIt,
	} {
		t.Run(name, func(t *testing.T) { test(newWorld(t, config, name)) })
	}
}

func testWhatDoesNotFitIsRejected(w *world) {
	w.cluster("store", nil)
	w.cluster("young", func(c *v1alpha1.EtcdCluster) { c.Status.ClusterID = "" })
	asleep := w.cluster("asleep", nil)
	asleep.Spec.Replicas = new(int32(0))
	if err := w.client.Update(w.Context(), asleep); err != nil {
		w.Fatal(err)
	}
	w.operate()
	for i, row := range []struct {
		cluster string
		act     func(*v1alpha1.EtcdTaskSpec)
		want    string
	}{
		{"none", looks, "there is no EtcdCluster none in the namespace rejected"},
		{"young", looks, "the cluster is not formed yet: make the task anew"},
		{"asleep", looks, "the cluster hibernates, so that nobody can be asked: scale it up"},
		{"store", func(s *v1alpha1.EtcdTaskSpec) { s.MoveLeader = &v1alpha1.EtcdTaskMoveLeader{To: "store-7"} }, "the cluster has no member store-7: it has store-0"},
		{"store", func(s *v1alpha1.EtcdTaskSpec) { s.ReplaceMember = &v1alpha1.EtcdTaskReplaceMember{Name: "store-7"} }, "the cluster has no member store-7"},
		{"store", func(s *v1alpha1.EtcdTaskSpec) {
			s.PrunePrefix = &v1alpha1.EtcdTaskPrunePrefix{Prefix: "/old/", DryRun: new(false), Token: "ab12"}
		}, "no task of this cluster is a dry run of /old/ that succeeded with this token"},
	} {
		name := fmt.Sprintf("task-%d", i)
		w.task(name, row.cluster, row.act)
		got := w.until(name, v1alpha1.EtcdTaskRejected)
		if !strings.Contains(got.Status.Message, row.want) || got.Status.EndedAt == nil || got.Status.Attempts != 0 || got.Status.Act == "" {
			w.Errorf("%s: %+v, want %q", name, got.Status, row.want)
		}
	}
}

func testTheOldestIsFirstAndTheOthersWait(w *world) {
	w.cluster("store", nil)
	w.cluster("other", nil)
	first := w.task("first", "store", watches)
	w.operate()
	w.until("first", v1alpha1.EtcdTaskRunning)
	w.task("second", "store", looks)
	if got := w.until("second", v1alpha1.EtcdTaskPending); !strings.Contains(got.Status.Message, "waits for its turn") {
		w.Errorf("the second: %+v", got.Status)
	}
	w.task("elsewhere", "other", looks)
	w.until("elsewhere", v1alpha1.EtcdTaskSucceeded) // clusters do not wait for each other
	if state := w.get("second").Status.State; state != v1alpha1.EtcdTaskPending {
		w.Errorf("the second is %s while the first runs", state)
	}
	w.remove(first) // which ends it
	w.until("second", v1alpha1.EtcdTaskSucceeded)
}

func testWhatChangesWaitsForTheCluster(w *world) {
	c := w.cluster("store", func(c *v1alpha1.EtcdCluster) { says(c, v1alpha1.ReasonUpdating) })
	w.operate()
	w.task("a-change", "store", compacts)
	if got := w.until("a-change", v1alpha1.EtcdTaskPending); !strings.Contains(got.Status.Message, "the cluster is being changed (Updating)") {
		w.Errorf("%+v", got.Status)
	}
	w.task("b-change", "store", compacts)
	w.task("c-look", "store", looks)
	w.until("c-look", v1alpha1.EtcdTaskSucceeded) // it only reads
	if got := w.until("b-change", v1alpha1.EtcdTaskPending); got.Status.Attempts != 0 {
		w.Errorf("%+v", got.Status)
	}
	says(c, v1alpha1.ReasonComplete)
	w.status(c)
	a, b := w.until("a-change", v1alpha1.EtcdTaskSucceeded), w.until("b-change", v1alpha1.EtcdTaskSucceeded)
	if b.Status.StartedAt.Before(a.Status.EndedAt) {
		w.Errorf("the second began at %s, the first ended at %s", b.Status.StartedAt, a.Status.EndedAt)
	}
}

func testATaskIsDeletedAfterItsTime(w *world) {
	w.cluster("store", nil)
	w.operate()
	w.task("short", "store", func(s *v1alpha1.EtcdTaskSpec) { looks(s); s.TTL = new(metav1.Duration{Duration: time.Second}) })
	w.task("long", "store", looks)
	w.eventually(func() string { return "the short one is deleted" }, func() bool { return w.get("short") == nil })
	if got := w.until("long", v1alpha1.EtcdTaskSucceeded); got.Spec.TTL.Duration != 168*time.Hour {
		w.Errorf("a task is kept for %s", got.Spec.TTL.Duration)
	}
}

func testATaskCannotBeChanged(w *world) {
	t := w.task("fixed", "store", looks)
	t.Spec.Cluster = "other"
	if err := w.client.Update(w.Context(), t); err == nil || !strings.Contains(err.Error(), "a task is done once, and cannot be changed") {
		w.Errorf("a change is answered by %v", err)
	}
}

func testATaskIsBegunAnewByTheNextOperator(w *world) {
	w.cluster("store", nil)
	t := w.task("long", "store", watches)
	stop := w.operate()
	w.until("long", v1alpha1.EtcdTaskRunning)
	stop()
	if got := w.get("long"); got.Status.State != v1alpha1.EtcdTaskRunning || got.Status.Attempts != 1 {
		w.Errorf("an operator that ends leaves %+v", got.Status)
	}
	w.operate()
	w.eventually(func() string { return fmt.Sprintf("it is begun anew: %+v", w.get("long").Status) }, func() bool { return w.get("long").Status.Attempts == 2 })
	w.remove(t)
}

// testARemovalGoesOnAfterItsOperatorEnded makes what an operator leaves that ended half-way.
func testARemovalGoesOnAfterItsOperatorEnded(w *world) {
	w.cluster("store", nil)
	etcd := w.fill("/old/", 100)
	stop := w.operate()
	seen := w.dryRun("look", "/old/")
	stop()
	half := func(name string) *v1alpha1.EtcdTask {
		t := w.task(name, "store", func(s *v1alpha1.EtcdTaskSpec) {
			s.PrunePrefix = &v1alpha1.EtcdTaskPrunePrefix{Prefix: "/old/", DryRun: new(false), Token: seen.Token}
		})
		t.Status = v1alpha1.EtcdTaskStatus{State: v1alpha1.EtcdTaskRunning, Attempts: 1}
		w.status(t)
		return t
	}
	if _, err := etcd.Delete(w.Context(), "/old/0", clientv3.WithPrefix()); err != nil {
		w.Fatal(err)
	}
	half("goes-on")
	stop = w.operate()
	got := w.until("goes-on", v1alpha1.EtcdTaskSucceeded)
	if !strings.Contains(got.Status.Message, "90 of 100 keys were removed") || !strings.Contains(got.Status.Message, "an operator ended meanwhile") || got.Status.Attempts != 2 {
		w.Errorf("%+v", got.Status)
	}
	if left, err := etcd.Get(w.Context(), "/old/", clientv3.WithPrefix(), clientv3.WithCountOnly()); err != nil || left.Count != 0 {
		w.Errorf("%v keys are left, %v", left, err)
	}
	stop()
	w.remove(w.get("look"))
	half("lost")
	w.operate()
	if got := w.until("lost", v1alpha1.EtcdTaskFailed); !strings.Contains(got.Status.Message, "it cannot go on: no task of this cluster is a dry run") {
		w.Errorf("%+v", got.Status)
	}
}

func testAFewTasksRunAtOnce(w *world) {
	var made []*v1alpha1.EtcdTask
	w.operate()
	for i := range 4 {
		name := fmt.Sprintf("store-%c", 'a'+i)
		w.cluster(name, nil)
		made = append(made, w.task(name, name, watches))
		w.until(name, v1alpha1.EtcdTaskRunning)
	}
	w.cluster("fifth", nil)
	w.task("fifth", "fifth", looks)
	if got := w.until("fifth", v1alpha1.EtcdTaskPending); !strings.Contains(got.Status.Message, "as many tasks of other clusters run as may at once") {
		w.Errorf("%+v", got.Status)
	}
	for _, t := range made {
		w.remove(t)
	}
	w.until("fifth", v1alpha1.EtcdTaskSucceeded)
}

func testATaskEndsWithItsCluster(w *world) {
	c := w.cluster("store", nil)
	w.operate()
	w.task("long", "store", watches)
	got := w.until("long", v1alpha1.EtcdTaskRunning)
	if len(got.OwnerReferences) != 1 || got.OwnerReferences[0].UID != c.UID {
		w.Errorf("the task is owned by %+v", got.OwnerReferences)
	}
	w.remove(c)
	if got := w.until("long", v1alpha1.EtcdTaskFailed); got.Status.Message != "it was ended, since its cluster is gone" {
		w.Errorf("%+v", got.Status)
	}
}

func testEveryActTellsWhatCameOfIt(w *world) {
	w.cluster("store", nil)
	w.fill("/app/", 50)
	w.operate()
	for name, row := range map[string]struct {
		act  func(*v1alpha1.EtcdTaskSpec)
		want string
	}{
		"inspect":      {looks, ""},
		"consistency":  {func(s *v1alpha1.EtcdTaskSpec) { s.Consistency = &v1alpha1.EtcdTaskConsistency{} }, "Consistent: all 1 voters have the same data"},
		"probe":        {func(s *v1alpha1.EtcdTaskSpec) { s.Probe = &v1alpha1.EtcdTaskProbe{} }, "all that clients do works, at each of 1 members"},
		"prefix-usage": {func(s *v1alpha1.EtcdTaskSpec) { s.PrefixUsage = &v1alpha1.EtcdTaskPrefixUsage{Prefix: "/app/"} }, "50 keys of"},
		"hot-keys": {func(s *v1alpha1.EtcdTaskSpec) {
			s.HotKeys = &v1alpha1.EtcdTaskHotKeys{For: new(metav1.Duration{Duration: time.Second})}
		}, "changes in 1 s"},
		"prune-prefix": {func(s *v1alpha1.EtcdTaskSpec) { s.PrunePrefix = &v1alpha1.EtcdTaskPrunePrefix{Prefix: "/app/"} }, "50 keys of"},
		"defragment":   {func(s *v1alpha1.EtcdTaskSpec) { s.Defragment = &v1alpha1.EtcdTaskDefragment{} }, "of 1 members were defragmented"},
		"compact":      {compacts, "the history up to revision"},
		"move-leader":  {func(s *v1alpha1.EtcdTaskSpec) { s.MoveLeader = &v1alpha1.EtcdTaskMoveLeader{To: "store-0"} }, "store-0 leads already"},
	} {
		w.task(name, "store", row.act)
		got := w.until(name, v1alpha1.EtcdTaskSucceeded).Status
		if !strings.Contains(got.Message, row.want) || got.Result == nil || len(got.Result.Raw) > 16<<10 || strings.ReplaceAll(name, "-", "") != strings.ToLower(got.Act) {
			w.Errorf("%s: act %s, message %q, want %q", name, got.Act, got.Message, row.want)
		}
		if got.Result != nil && strings.Contains(string(got.Result.Raw), value) || strings.Contains(got.Message, value) {
			w.Errorf("%s tells a value", name)
		}
		w.Logf("%s: %s", name, got.Message)
	}
}

// value is what keys have, and nobody is told.
const value = "a-value-of-a-key"

// fill writes so many keys, and returns a client.
func (w *world) fill(prefix string, keys int) *clientv3.Client {
	w.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{w.etcd.URL}, DialTimeout: 5 * time.Second})
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = c.Close() })
	for i := range keys {
		if _, err := c.Put(w.Context(), fmt.Sprintf("%s%02d", prefix, i), value); err != nil {
			w.Fatal(err)
		}
	}
	return c
}

// dryRun has a removal tried, and returns what it saw.
func (w *world) dryRun(name, prefix string) keyspace.Doomed {
	w.Helper()
	w.task(name, "store", func(s *v1alpha1.EtcdTaskSpec) { s.PrunePrefix = &v1alpha1.EtcdTaskPrunePrefix{Prefix: prefix} })
	var seen keyspace.Doomed
	if err := json.Unmarshal(w.until(name, v1alpha1.EtcdTaskSucceeded).Status.Result.Raw, &seen); err != nil {
		w.Fatal(err)
	}
	return seen
}
