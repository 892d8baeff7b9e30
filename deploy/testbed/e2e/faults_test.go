package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"gridrouter.io/deploy/testbed/cluster"
)

func TestACrashLoopIsToldWithItsExitCode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "crash"}, Spec: corev1.PodSpec{
		Containers: []corev1.Container{{Name: "echo", Image: "echo:v1", Args: []string{"--exit=3"}}},
	}}
	w.create(pod)
	pod = w.awaitPod("crash", "backs off after restarts", func(pod *corev1.Pod) bool {
		return waiting(pod) == "CrashLoopBackOff" && pod.Status.ContainerStatuses[0].RestartCount >= 1
	})
	if last := pod.Status.ContainerStatuses[0].LastTerminationState.Terminated; last == nil || last.ExitCode != 3 || last.Reason != "Error" {
		t.Errorf("the last state is %+v", last)
	}
}

func TestAnImageThatIsNotMappedCannotBePulled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "missing"}, Spec: corev1.PodSpec{
		Containers: []corev1.Container{{Name: "c", Image: "registry.example/nothing:v1"}},
	}})
	for _, reason := range []string{"ErrImagePull", "ImagePullBackOff"} {
		w.awaitPod("missing", reason, func(pod *corev1.Pod) bool { return waiting(pod) == reason })
	}
}

func TestAProgramThatIsNotInTheImageIsAStartError(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "wrong"}, Spec: corev1.PodSpec{
		RestartPolicy: corev1.RestartPolicyNever,
		Containers:    []corev1.Container{{Name: "c", Image: "echo:v1", Command: []string{"/bin/sh"}}},
	}})
	pod := w.awaitPod("wrong", "fails", func(pod *corev1.Pod) bool { return pod.Status.Phase == corev1.PodFailed })
	ended := pod.Status.ContainerStatuses[0].State.Terminated
	if ended == nil || ended.ExitCode != 128 || !strings.Contains(ended.Message, "/bin/sh") {
		t.Errorf("the container ended so: %+v", ended)
	}
}

func TestAPodThatIsNotReadyGetsNoConnections(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy(deployment("web", "echo:v1", 1))
	pod := w.pods("web")[0]
	direct := "http://" + pod.Status.PodIP + ":8080/ready/"
	for _, state := range []string{"off", "on"} {
		if _, err := w.fetch(http.MethodPost, direct+state); err != nil {
			t.Fatal(err)
		}
		w.awaitPod(pod.Name, "is "+state, func(pod *corev1.Pod) bool { return ready(pod) == (state == "on") })
		w.eventually("the Service follows to "+state, func() error {
			if _, err := w.ask(w.url("web", "/")); (err == nil) != (state == "on") {
				return fmt.Errorf("a request ended with %w", err)
			}
			return nil
		})
	}
}

func TestALivenessProbeRestartsAContainer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	container := server("echo:v1")
	container.Lifecycle = nil
	container.VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/data"}}
	container.LivenessProbe = &corev1.Probe{
		ProbeHandler:  corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"/echo-v1", "--exists=/data/alive"}}},
		PeriodSeconds: 1, FailureThreshold: 1, TimeoutSeconds: 10, InitialDelaySeconds: 5,
	}
	grace := int64(1)
	w.create(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "live"}, Spec: corev1.PodSpec{
		TerminationGracePeriodSeconds: &grace,
		Containers:                    []corev1.Container{container},
		Volumes:                       []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}},
	}})
	// Nobody writes the file, so the probe fails.
	w.awaitPod("live", "is restarted", func(pod *corev1.Pod) bool {
		return len(pod.Status.ContainerStatuses) > 0 && pod.Status.ContainerStatuses[0].RestartCount > 0
	})
}

func TestAProcessSeesSIGTERMAndIsKilledAfterItsGrace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, c := range []struct {
		name, linger string
		code         int32
		message      string
	}{
		{"quick", "0s", 0, "ended in order"},
		{"slow", "10m", 137, ""},
	} {
		grace := int64(2)
		if c.code == 0 {
			grace = 60
		}
		container := server("echo:v1")
		container.Args = []string{"--linger=" + c.linger}
		container.Lifecycle = nil
		// The finalizer keeps the pod's last status where it can be read.
		w.create(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: c.name, Finalizers: []string{"gridrouter.io/test"}}, Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever, TerminationGracePeriodSeconds: &grace, Containers: []corev1.Container{container},
		}})
		w.awaitPod(c.name, "is ready", ready)
		if err := w.client.CoreV1().Pods(w.namespace).Delete(w.ctx, c.name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		pod := w.awaitPod(c.name, "has ended", func(pod *corev1.Pod) bool {
			return pod.DeletionTimestamp != nil && pod.Status.ContainerStatuses[0].State.Terminated != nil
		})
		if ended := pod.Status.ContainerStatuses[0].State.Terminated; ended.ExitCode != c.code || ended.Message != c.message {
			t.Errorf("%s ended with status %d and %q", c.name, ended.ExitCode, ended.Message)
		}
		w.eventually("the finalizer of "+c.name, func() error {
			pod, err := w.client.CoreV1().Pods(w.namespace).Get(w.ctx, c.name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			pod.Finalizers = nil
			_, err = w.client.CoreV1().Pods(w.namespace).Update(w.ctx, pod, metav1.UpdateOptions{})
			return err
		})
	}
}

// The tests of nodes run one after the other, since each needs nodes of which it knows all.

func TestADrainKeepsToTheBudget(t *testing.T) {
	w := newWorld(t)
	w.deploy(deployment("web", "echo:v1", 3))
	one := intstr.FromInt32(1)
	_, err := w.client.PolicyV1().PodDisruptionBudgets(w.namespace).Create(w.ctx, &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec:       policyv1.PodDisruptionBudgetSpec{MaxUnavailable: &one, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w.eventually("the budget is known", func() error {
		budget, err := w.client.PolicyV1().PodDisruptionBudgets(w.namespace).Get(w.ctx, "web", metav1.GetOptions{})
		if err == nil && budget.Status.DisruptionsAllowed != 1 {
			err = fmt.Errorf("status %+v", budget.Status)
		}
		return err
	})
	pods := w.pods("web")
	drained := pods[0].Spec.NodeName
	w.cordon(drained, true)
	defer w.cordon(drained, false)
	// One may go, and no second one while it has no successor.
	if err := w.evict(pods[0].Name); err != nil {
		t.Fatal(err)
	}
	if err := w.evict(pods[1].Name); err != nil && !apierrors.IsTooManyRequests(err) {
		t.Fatal(err)
	}
	w.eventually("no pod is left on "+drained, func() error {
		for _, pod := range w.pods("web") {
			if pod.Spec.NodeName != drained {
				continue
			}
			if err := w.evict(pod.Name); err != nil && !apierrors.IsTooManyRequests(err) && !apierrors.IsNotFound(err) {
				t.Fatal(err)
			}
			return fmt.Errorf("pod %s", pod.Name)
		}
		return nil
	})
	w.rolledOut("web")
}

func TestPodsOfANodeWithoutPowerStartElsewhere(t *testing.T) {
	w := newWorld(t)
	w.deploy(deployment("web", "echo:v1", 2))
	lost := w.pods("web")[0]
	w.power(lost.Spec.NodeName, cluster.PowerOff)
	defer func() {
		w.power(lost.Spec.NodeName, "")
		w.eventually(lost.Spec.NodeName+" is back", func() error { return w.nodeIs(lost.Spec.NodeName, corev1.ConditionTrue) })
	}()
	w.eventually(lost.Spec.NodeName+" is lost", func() error { return w.nodeIs(lost.Spec.NodeName, corev1.ConditionUnknown) })
	w.eventually("two pods are ready on other nodes", func() error {
		count := 0
		for _, pod := range w.pods("web") {
			if ready(&pod) && pod.Spec.NodeName != lost.Spec.NodeName {
				count++
			}
		}
		if count != 2 {
			return fmt.Errorf("%d are", count)
		}
		return nil
	})
}

func TestPodsOfANodeThatIsFrozenGoOn(t *testing.T) {
	w := newWorld(t)
	w.deploy(deployment("web", "echo:v1", 1))
	pod := w.pods("web")[0]
	w.power(pod.Spec.NodeName, cluster.PowerFrozen)
	w.eventually(pod.Spec.NodeName+" is lost", func() error { return w.nodeIs(pod.Spec.NodeName, corev1.ConditionUnknown) })
	if _, err := w.ask("http://" + pod.Status.PodIP + ":8080/"); err != nil {
		t.Error(err)
	}
	w.power(pod.Spec.NodeName, "")
	w.eventually(pod.Spec.NodeName+" is back", func() error { return w.nodeIs(pod.Spec.NodeName, corev1.ConditionTrue) })
	if again := w.awaitPod(pod.Name, "is ready", ready); again.Status.ContainerStatuses[0].RestartCount != 0 {
		t.Errorf("statuses %+v", again.Status.ContainerStatuses)
	}
}

func waiting(pod *corev1.Pod) string {
	for _, status := range pod.Status.ContainerStatuses {
		if status.State.Waiting != nil {
			return status.State.Waiting.Reason
		}
	}
	return ""
}

func (w *world) evict(pod string) error {
	return w.client.PolicyV1().Evictions(w.namespace).Evict(w.ctx, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: pod, Namespace: w.namespace}})
}

// editNode changes a node, which others change as well.
func (w *world) editNode(name string, edit func(*corev1.Node)) {
	w.Helper()
	w.eventually("a change of "+name, func() error {
		node, err := w.client.CoreV1().Nodes().Get(w.ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		edit(node)
		_, err = w.client.CoreV1().Nodes().Update(w.ctx, node, metav1.UpdateOptions{})
		return err
	})
}

func (w *world) cordon(node string, on bool) {
	w.Helper()
	w.editNode(node, func(node *corev1.Node) { node.Spec.Unschedulable = on })
}

func (w *world) power(node, power string) {
	w.Helper()
	w.editNode(node, func(node *corev1.Node) {
		if node.Annotations == nil {
			node.Annotations = map[string]string{}
		}
		node.Annotations[cluster.PowerAnnotation] = power
	})
}

var errNode = errors.New("the node's state is another one")

func (w *world) nodeIs(name string, want corev1.ConditionStatus) error {
	node, err := w.client.CoreV1().Nodes().Get(w.ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady && condition.Status == want {
			return nil
		}
	}
	return errNode
}
