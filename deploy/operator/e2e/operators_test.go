package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gridrouter.io/deploy/api/v1alpha1"
)

// system is the operator's namespace, and lease the Lease that the leading operator holds.
var (
	system = "gridrouter-system"
	lease  = client.ObjectKey{Namespace: system, Name: "gridrouter-operator"}
)

// TestE2EKubeAnotherOperatorChangesNothing has the operator end and begin anew, and then one of another tag.
func TestE2EKubeAnotherOperatorChangesNothing(t *testing.T) {
	w := newWorld(t)
	w.grid()
	w.create(w.fleet("edge", 3))
	w.awaits("edge", v1alpha1.ConditionProgressing, v1alpha1.ReasonComplete)
	w.awaits("edge", v1alpha1.ConditionConfigSynced, v1alpha1.ReasonInSync)
	before := w.versions("edge")
	operatorKubectl := func(args ...string) string { return w.kubectl(append([]string{"-n", system}, args...)...) }

	holder := w.holder()
	operatorKubectl("rollout", "restart", "deployment/gridrouter-operator")
	operatorKubectl("rollout", "status", "deployment/gridrouter-operator", "--timeout=2m")
	w.leaderAfter(holder)
	w.reconciled("edge")
	w.unchanged("edge", before)

	holder = w.holder()
	operatorKubectl("set", "image", "deployment/gridrouter-operator", "operator=gridrouter:other")
	operatorKubectl("rollout", "status", "deployment/gridrouter-operator", "--timeout=2m")
	w.leaderAfter(holder)
	w.reconciled("edge")
	w.unchanged("edge", before)
}

// TestE2EKubeALeaderThatWasStoppedWritesNothingAfterwards stops the process of the leading operator while it
// makes fleets, and lets it go on when another one has made them.
func TestE2EKubeALeaderThatWasStoppedWritesNothingAfterwards(t *testing.T) {
	const fleets = 6
	w := newWorld(t)
	w.grid()
	leader, pid := w.leader()
	names := make([]string, fleets)
	for i := range names {
		names[i] = fmt.Sprintf("edge-%d", i)
		w.create(w.fleet(names[i], 1))
	}
	w.eventually("the leader is at work", func() error {
		var made appsv1.ControllerRevisionList
		if err := w.client.List(w.Context(), &made, client.InNamespace(w.namespace)); err != nil || len(made.Items) > 0 {
			return err
		}
		return errors.New("nothing was made yet")
	})
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	stopped := time.Now()
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGCONT) }) // an error means that it has ended
	w.leaderAfter(leader)
	took := time.Since(stopped)
	before := map[string]string{}
	for _, name := range names {
		w.awaits(name, v1alpha1.ConditionProgressing, v1alpha1.ReasonComplete)
		w.awaits(name, v1alpha1.ConditionConfigSynced, v1alpha1.ReasonInSync)
		maps.Copy(before, w.versions(name))
	}
	t.Logf("another leads %.1f s after the leader was stopped, and all %d fleets are complete after %.1f s", took.Seconds(), fleets, time.Since(stopped).Seconds())
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil && !errors.Is(err, syscall.ESRCH) {
		t.Fatal(err) // ESRCH: its node took it for dead and killed it
	}
	w.eventually("the former leader ends", func() error {
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); err == nil {
			return errors.New("its process is there")
		}
		return nil
	})
	after := map[string]string{}
	for _, name := range names {
		maps.Copy(after, w.versions(name))
	}
	if !maps.Equal(before, after) {
		t.Errorf("something was written:\n%s", difference(before, after))
	}
}

// holder is the identity of the operator that leads.
func (w *world) holder() string {
	w.Helper()
	var l coordinationv1.Lease
	if err := w.client.Get(w.Context(), lease, &l); err != nil {
		w.Fatal(err)
	}
	if l.Spec.HolderIdentity == nil {
		return ""
	}
	return *l.Spec.HolderIdentity
}

// leaderAfter waits until another operator than before leads.
func (w *world) leaderAfter(before string) {
	w.Helper()
	w.eventually("another operator leads", func() error {
		if now := w.holder(); now == before || now == "" {
			return fmt.Errorf("the Lease is held by %q", now)
		}
		return nil
	})
}

// leader is the identity of the operator that leads, and its process: pods of a testbed are processes.
func (w *world) leader() (holder string, pid int) {
	w.Helper()
	holder = w.holder()
	pod, _, _ := strings.Cut(holder, "_")
	folders, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		w.Fatal(err)
	}
	for _, folder := range folders {
		arguments, _ := os.ReadFile(filepath.Join(folder, "cmdline")) // what has ended is none
		environment, _ := os.ReadFile(filepath.Join(folder, "environ"))
		if bytes.HasPrefix(arguments, []byte("/gridrouter\x00operator\x00")) && slices.Contains(strings.Split(string(environment), "\x00"), "HOSTNAME="+pod) {
			pid, _ = strconv.Atoi(filepath.Base(folder))
		}
	}
	if pid == 0 {
		w.Fatalf("no process of %s", pod)
	}
	return holder, pid
}

// reconciled has a fleet reconciled by a change that concerns no router, and waits until it was.
func (w *world) reconciled(name string) {
	w.Helper()
	w.change(name, func(spec *v1alpha1.GridRouterSpec) { spec.Rollout.History = 20 + (spec.Rollout.History+1)%2 })
	w.eventually(name+" is reconciled", func() error {
		if fleet := w.get(name); fleet.Status.ObservedGeneration != fleet.Generation {
			return fmt.Errorf("generation %d of %d", fleet.Status.ObservedGeneration, fleet.Generation)
		}
		return nil
	})
}

// versions are the versions of all objects of a fleet, by kind and name.
func (w *world) versions(fleet string) map[string]string {
	w.Helper()
	all := map[string]string{}
	for _, list := range []client.ObjectList{
		&appsv1.DeploymentList{}, &appsv1.ControllerRevisionList{}, &corev1.PodList{}, &corev1.ServiceList{}, &corev1.ServiceAccountList{},
		&corev1.SecretList{}, &corev1.ConfigMapList{}, &policyv1.PodDisruptionBudgetList{}, &autoscalingv2.HorizontalPodAutoscalerList{},
	} {
		if err := w.client.List(w.Context(), list, client.InNamespace(w.namespace), client.MatchingLabels{"app.kubernetes.io/instance": fleet}); err != nil {
			w.Fatal(err)
		}
		if err := meta.EachListItem(list, func(o runtime.Object) error {
			object, err := meta.Accessor(o)
			if err == nil {
				all[fmt.Sprintf("%T %s", o, object.GetName())] = fmt.Sprintf("%s at %s", object.GetUID(), object.GetResourceVersion())
			}
			return err
		}); err != nil {
			w.Fatal(err)
		}
	}
	return all
}

// unchanged wants all objects of a fleet to be as they were.
func (w *world) unchanged(fleet string, before map[string]string) {
	w.Helper()
	if after := w.versions(fleet); !maps.Equal(before, after) {
		w.Errorf("something was written:\n%s", difference(before, after))
		out, err := exec.CommandContext(w.Context(), "kubectl", "-n", w.namespace, "get", "deployment,pod", "-o", "yaml", "--show-managed-fields").CombinedOutput()
		w.Logf("%v\n%s", err, out)
	}
}

func difference(before, after map[string]string) string {
	var lines []string
	for key, value := range before {
		if after[key] != value {
			lines = append(lines, fmt.Sprintf("%s: %s, now %s", key, value, after[key]))
		}
	}
	for key, value := range after {
		if _, known := before[key]; !known {
			lines = append(lines, fmt.Sprintf("%s: new, %s", key, value))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
