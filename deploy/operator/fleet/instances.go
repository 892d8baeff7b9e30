package fleet

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/deploy/operator/fleet/render"
)

// instances lists the fleet's routers, those with something to tell first and at most
// [v1alpha1.MaxInstances], and counts all of them, those that are ready, and those of a revision.
func (w *world) instances(hash string) (listed []v1alpha1.Instance, replicas, ready, updated int32) {
	all := make([]v1alpha1.Instance, 0, len(w.pods))
	for i := range w.pods {
		pod := &w.pods[i]
		if !counts(pod) {
			continue
		}
		one := w.instance(pod)
		replicas++
		if one.Ready {
			ready++
		}
		if pod.Labels[render.LabelRevision] == hash {
			updated++
		}
		all = append(all, one)
	}
	slices.SortFunc(all, func(a, b v1alpha1.Instance) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.Name, b.Name))
	})
	return all[:min(len(all), v1alpha1.MaxInstances)], replicas, ready, updated
}

// counts says whether a pod is one of the fleet's routers: neither ended nor on its way out.
func counts(pod *corev1.Pod) bool {
	return pod.DeletionTimestamp == nil && pod.Status.Phase != corev1.PodFailed && pod.Status.Phase != corev1.PodSucceeded
}

func rank(i v1alpha1.Instance) int {
	if !i.Ready {
		return 0
	}
	return 1
}

func (w *world) instance(pod *corev1.Pod) v1alpha1.Instance {
	one := v1alpha1.Instance{
		Name: pod.Name, Node: pod.Spec.NodeName, Zone: w.zones[pod.Spec.NodeName], Address: pod.Status.PodIP,
		Canary: pod.Labels[render.LabelTrack] == string(render.TrackCanary), Ready: isReady(pod),
	}
	if r := byHash(w.revisions, pod.Labels[render.LabelRevision]); r != nil {
		one.Revision, one.Version = r.number, r.input.Version
	}
	if told, known := w.tables.Routers[pod.Name]; known {
		one.TableRevision, one.TableHash = told.Revision, told.Hash
	}
	if !one.Ready {
		one.Why = clipped(waitingOf(pod, w.now))
	}
	return one
}

func isReady(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// countOf counts the routers of a revision.
func countOf(w *world, of *revision) (count int32) {
	for i := range w.pods {
		if of != nil && counts(&w.pods[i]) && w.pods[i].Labels[render.LabelRevision] == of.hash {
			count++
		}
	}
	return count
}

// whyWaiting is why routers do not get ready, in the words of their pods, each said once; empty: they do,
// or have only just been made.
func (w *world) whyWaiting() string {
	var reasons []string
	for i := range w.pods {
		if pod := &w.pods[i]; counts(pod) && !isReady(pod) {
			if why := waitingOf(pod, w.now); why != "" && !slices.Contains(reasons, why) {
				reasons = append(reasons, why)
			}
		}
	}
	slices.Sort(reasons)
	if more := len(reasons) - 3; more > 0 {
		reasons = append(reasons[:3], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(reasons, "; ")
}

// ordinary are reasons of containers that wait as all do at their start.
var ordinary = []string{"ContainerCreating", "PodInitializing"}

// slowStart is how long a router that runs may take to get ready before that is told as a fault: it reads its
// documents meanwhile.
const slowStart = 15 * time.Second

// waitingOf is why a pod does not get ready, in its own words; empty: it has only just been made.
func waitingOf(pod *corev1.Pod, at time.Time) string {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return c.Reason + ": " + c.Message
		}
	}
	for _, status := range pod.Status.ContainerStatuses {
		if waiting := status.State.Waiting; waiting != nil && !slices.Contains(ordinary, waiting.Reason) {
			if ended := status.LastTerminationState.Terminated; waiting.Message == "" && ended != nil {
				return fmt.Sprintf("%s: exit status %d", waiting.Reason, ended.ExitCode)
			}
			return strings.TrimSuffix(waiting.Reason+": "+waiting.Message, ": ")
		}
		if ended := status.LastTerminationState.Terminated; ended != nil && status.RestartCount > 0 && !status.Ready {
			return fmt.Sprintf("restarted %d times: %s, exit status %d", status.RestartCount, ended.Reason, ended.ExitCode)
		}
		if running := status.State.Running; running != nil && !status.Ready && at.Sub(running.StartedAt.Time) >= slowStart {
			return fmt.Sprintf("runs since %s and is not ready: GET /readyz of port %d says why, and its log", running.StartedAt.UTC().Format(time.TimeOnly), render.HealthPort)
		}
	}
	return ""
}
