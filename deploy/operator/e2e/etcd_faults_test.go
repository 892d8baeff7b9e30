package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gridrouter.io/deploy/api/v1alpha1"
)

func errorf(format string, args ...any) error { return fmt.Errorf(format, args...) }

func duration(d time.Duration) *metav1.Duration { return &metav1.Duration{Duration: d} }

// process is the id of the process of a member on this machine: the testbed's containers are processes.
func (w *etcdWorld) process(name string) int {
	w.Helper()
	found, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		w.Fatal(err)
	}
	advertised := fmt.Sprintf("//%s.%s-peers.%s.svc:2380", name, w.name, w.namespace)
	for _, file := range found {
		text, err := os.ReadFile(file)
		args := strings.Split(string(text), "\x00")
		if err != nil || filepath.Base(args[0]) != "etcd" || !slices.ContainsFunc(args, func(arg string) bool {
			return strings.HasPrefix(arg, "--initial-advertise-peer-urls=") && strings.HasSuffix(arg, advertised)
		}) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			w.Fatal(err)
		}
		return pid
	}
	return 0
}

// folder is where a member's volume is on this machine.
func (w *etcdWorld) folder(name string) string {
	w.Helper()
	claim := &corev1.PersistentVolumeClaim{}
	if err := w.client.Get(w.Context(), client.ObjectKey{Namespace: w.namespace, Name: name}, claim); err != nil {
		w.Fatal(err)
	}
	volume := &corev1.PersistentVolume{}
	if err := w.client.Get(w.Context(), client.ObjectKey{Name: claim.Spec.VolumeName}, volume); err != nil {
		w.Fatal(err)
	}
	return volume.Spec.HostPath.Path
}

// kill ends the process of a member at once.
func (w *etcdWorld) kill(name string) {
	w.Helper()
	pid := w.process(name)
	if pid == 0 {
		w.Fatalf("no process of %s", name)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		w.Fatal(err)
	}
}

func TestE2EKubeEtcdReplacesAMemberWhoseDiskWasWiped(t *testing.T) {
	t.Parallel()
	w := newEtcdWorld(t, etcdNew, 3, nil)
	c := w.whole(3)
	l := w.follow()
	for _, leads := range []bool{false, true} {
		before := names(w.cluster())
		victim := c.Status.Members[slices.IndexFunc(c.Status.Members, func(m v1alpha1.EtcdMemberSummary) bool { return (m.Name == c.Status.Leader) == leads })].Name
		l.mark()
		began := time.Now()
		folder := w.folder(victim)
		w.kill(victim)
		if err := os.RemoveAll(filepath.Join(folder, "data")); err != nil {
			t.Fatal(err)
		}
		w.eventually("another member takes its place", func() error {
			now := names(w.cluster())
			if slices.Contains(now, victim) || len(now) != 3 {
				return errorf("members %v", now)
			}
			return nil
		})
		c = w.whole(3)
		t.Logf("%s of %v (leader: %t) was replaced in %s: %v; %s", victim, before, leads, time.Since(began).Round(100*time.Millisecond), names(c), l.pause())
	}
	l.settle()
}

func TestE2EKubeEtcdBearsAMemberThatIsKilledAgainAndAgain(t *testing.T) {
	if testing.Short() {
		t.Skip("make e2e-kube ARGS=--long runs it")
	}
	t.Parallel()
	w := newEtcdWorld(t, etcdNew, 3, nil)
	c := w.whole(3)
	l := w.follow()
	before := names(c)
	l.mark()
	for range 3 { // each takes Kubernetes longer to start it again
		pid := w.process(before[1])
		w.kill(before[1])
		w.eventually("it runs again", func() error {
			if now := w.process(before[1]); now == 0 || now == pid {
				return errorf("process %d", now)
			}
			return nil
		})
	}
	w.eventually("all members are healthy", func() error {
		if c = w.cluster(); c.Status.Healthy != 3 {
			return errorf("%d healthy, step %q", c.Status.Healthy, c.Status.Step)
		}
		return nil
	})
	if now := names(c); !slices.Equal(now, before) {
		t.Errorf("the members were %v, and are %v: a member that comes back is not replaced", before, now)
	}
	t.Log(l.pause())
	l.settle()
}

// destroy ends members at once and removes their data.
func (w *etcdWorld) destroy(names ...string) {
	w.Helper()
	folders := make([]string, 0, len(names))
	for _, name := range names {
		folders = append(folders, w.folder(name))
		w.kill(name)
	}
	for _, folder := range folders {
		if err := os.RemoveAll(filepath.Join(folder, "data")); err != nil {
			w.Fatal(err)
		}
	}
}

// TestE2EKubeEtcdGoesOnWithItsSurvivor destroys two of three disks: first a pause of ten seconds does nothing, then the
// cluster goes on with the third one, behind the same Service, and all that was written is there.
func TestE2EKubeEtcdGoesOnWithItsSurvivor(t *testing.T) {
	t.Parallel()
	w := newEtcdWorld(t, etcdNew, 3, func(spec *v1alpha1.EtcdClusterSpec) {
		spec.SelfHeal.QuorumLoss = v1alpha1.EtcdQuorumLoss{Policy: v1alpha1.QuorumFromSurvivor, After: duration(30 * time.Second)}
	})
	c := w.whole(3)
	id, all := c.Status.ClusterID, names(c)
	l := w.follow()
	for _, name := range all[1:] {
		if err := syscall.Kill(w.process(name), syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
	paused := time.Now()
	w.etcdSays(v1alpha1.ConditionQuorate, v1alpha1.ReasonQuorumLost)
	w.eventually("ten seconds are over", func() error {
		if w.cluster().Status.Recovery != nil {
			w.Fatal("a pause is taken for a loss")
		}
		if time.Since(paused) < 10*time.Second {
			return errorf("not yet")
		}
		return nil
	})
	for _, name := range all[1:] {
		if err := syscall.Kill(w.process(name), syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
	}
	c = w.whole(3)
	if !slices.Equal(names(c), all) {
		t.Errorf("after a pause the members are %v, and were %v", names(c), all)
	}
	l.settle() // what is written while the survivor is alone may be known to nobody else

	began := time.Now()
	w.destroy(all[1:]...)
	w.etcdSays(v1alpha1.ConditionQuorate, v1alpha1.ReasonQuorumLost)
	w.eventually("it goes on with the survivor", func() error {
		if c := w.cluster(); c.Status.Recovery == nil && c.Status.Healthy == 0 || !slices.Contains(names(c), all[0]) || slices.Contains(names(c), all[1]) {
			return errorf("recovery %+v, members %v, step %q", c.Status.Recovery, names(c), c.Status.Step)
		}
		return nil
	})
	c = w.whole(3)
	t.Logf("two of three disks destroyed: whole again after %s: %v", time.Since(began).Round(100*time.Millisecond), names(c))
	if c.Status.ClusterID != id {
		t.Errorf("the cluster was %s, and is %s", id, c.Status.ClusterID)
	}
	l.held()
}

func TestE2EKubeEtcdReplacesAMemberThatAPersonDeletes(t *testing.T) {
	if testing.Short() {
		t.Skip("make e2e-kube ARGS=--long runs it")
	}
	t.Parallel()
	w := newEtcdWorld(t, etcdNew, 3, nil)
	c := w.whole(3)
	l := w.follow()
	victim := c.Status.Leader
	l.mark()
	w.kubectl("delete", "etcdmember", victim, "--wait=true", "--timeout=120s")
	c = w.whole(3)
	if slices.Contains(names(c), victim) {
		t.Errorf("%s is still there: %v", victim, names(c))
	}
	t.Logf("%s, which led, was replaced: %v; %s", victim, names(c), l.pause())
	l.settle()
}

func TestE2EKubeEtcdIsDeletedWithItsNamespace(t *testing.T) {
	if testing.Short() {
		t.Skip("make e2e-kube ARGS=--long runs it")
	}
	t.Parallel()
	w := newEtcdWorld(t, etcdNew, 3, nil)
	w.whole(3)
	began := time.Now()
	w.kubectl("delete", "namespace", w.namespace, "--wait=true", "--timeout=120s")
	t.Logf("gone in %s", time.Since(began).Round(100*time.Millisecond))
}
