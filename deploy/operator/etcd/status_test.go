package etcd

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	etcdmember "gridrouter.io/deploy/etcd/member"
	"gridrouter.io/deploy/operator/etcd/plan"
	"gridrouter.io/deploy/operator/etcd/render"
)

func TestVersionsAreComparedByTheirNumbers(t *testing.T) {
	for _, row := range []struct {
		a, b string
		want bool
	}{
		{"3.6.16", "3.7.3", true}, {"3.7.3", "3.6.16", false}, {"3.7.9", "3.7.10", true}, {"3.10.0", "3.9.9", false}, {"3.7.3", "3.7.3", false}, {"3.7", "3.7.1", true}, {"", "3.7.3", true},
	} {
		if got := older(row.a, row.b); got != row.want {
			t.Errorf("%s older than %s: %t", row.a, row.b, got)
		}
	}
	for version, want := range map[string]string{"3.7.0": "3.7", "3.10.1": "3.10", "3.7": "3.7", "3": "", "": "", ".7": ""} {
		if got := minorOf(version); got != want {
			t.Errorf("the minor version of %q is %q", version, got)
		}
	}
}

// endedWith is a pod whose etcd ended with a status before the container that there is now.
func endedWith(status int32, running, ready bool) *corev1.Pod {
	container := corev1.ContainerStatus{
		Name: render.Container, Ready: ready,
		LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: status, Message: "the volume lost the data"}},
	}
	if running {
		container.State.Running = &corev1.ContainerStateRunning{}
	}
	return &corev1.Pod{Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "other"}, container}}}
}

func TestLostDataAreKnownByTheExitStatus(t *testing.T) {
	for status, want := range map[int32]bool{
		etcdmember.ExitDataLost: true, etcdmember.ExitOtherMember: true, etcdmember.ExitUnreadable: true, etcdmember.ExitUnusable: false, 0: false, 1: false, 137: false,
	} {
		if got := lost(endedWith(status, false, false)); (got != "") != want {
			t.Errorf("status %d: %q", status, got)
		}
		if got := lost(endedWith(status, true, true)); got != "" {
			t.Errorf("status %d of a container before one that serves: %q", status, got)
		}
	}
	if lost(nil) != "" || lost(&corev1.Pod{}) != "" {
		t.Error("data are lost of a pod that says nothing")
	}
}

func TestEachStepIsASentence(t *testing.T) {
	for _, act := range []plan.Act{
		plan.MakeSeed, plan.MakeMember, plan.AddLearner, plan.StartPod, plan.StopPod, plan.MarkJoined, plan.Promote, plan.MoveLeader, plan.Remove,
		plan.RemoveFromEtcd, plan.RemoveStray, plan.Release, plan.Update,
	} {
		got := sentence(plan.Step{Act: act, Member: "edge-1", To: "edge-2"})
		if strings.Contains(got, "%") || got == "" || !strings.HasSuffix(got, "to edge-2") {
			t.Errorf("%s is told as %q", act, got)
		}
	}
	if got := sentence(plan.Step{Act: plan.Wait, Why: "edge-1 ends"}); got != "edge-1 ends" {
		t.Errorf("a wait is told as %q", got)
	}
}
