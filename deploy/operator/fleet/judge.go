package fleet

import (
	"fmt"
	"net"
	"strconv"

	"k8s.io/apimachinery/pkg/types"

	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/deploy/operator/fleet/analysis"
	"gridrouter.io/deploy/operator/fleet/canary"
	"gridrouter.io/deploy/operator/fleet/render"
	"gridrouter.io/deploy/operator/routermetrics"
)

// verdict is what the metrics of a canary say.
type verdict struct {
	event  canary.Event // Passed, Failed or Inconclusive; empty: no canary is to be judged
	reason v1alpha1.Reason
	why    string
}

// judge compares the canaries of a step with the stable routers, by what both counted since the step's
// canaries were ready.
func (r *Reconciler) judge(w *world) verdict {
	if w.work == nil || w.work.State != canary.Holding && w.work.State != canary.Judging {
		r.windows.Forget(idOf(w.fleet))
		return verdict{}
	}
	window := r.windows.Of(idOf(w.fleet), fmt.Sprintf("%s/%d", w.work.ID, w.work.Context.Step), w.now)
	for i := range w.pods {
		pod := &w.pods[i]
		if sample, known := r.options.Metrics.Latest(SampleKey(w.fleet.Namespace, w.fleet.Name, pod.UID)); known {
			window.Add(string(pod.UID), pod.Labels[render.LabelTrack] == string(render.TrackCanary), sample)
		}
	}
	tried, stable := window.Deltas()
	var rules v1alpha1.CanaryAnalysis
	if canary := w.fleet.Spec.Rollout.Canary; canary != nil { // nil: the spec has left it out meanwhile
		rules = canary.Analysis
	}
	found, reason, why := analysis.Judge(tried, stable, rules)
	v := verdict{reason: reason, why: why}
	switch found {
	case analysis.Passed:
		v.event = canary.Passed
	case analysis.Failed:
		v.event = canary.Failed
	case analysis.Inconclusive:
		v.event = canary.Inconclusive
	}
	return v
}

// SampleKey is by what the metrics of a fleet's pod are kept. The UID alone would not do: a cluster that belongs
// to somebody else may give its pods the UIDs of others.
func SampleKey(namespace, fleet string, pod types.UID) string {
	return namespace + "/" + fleet + "/" + string(pod)
}

// sample has the metrics of a fleet's routers read, where somebody asks for them: a canary or an autoscaler.
func (r *Reconciler) sample(w *world) {
	var targets map[string]routermetrics.Target
	if w.fleet.Spec.Autoscaling != nil || w.work != nil && !w.work.over() {
		targets = map[string]routermetrics.Target{}
		for i := range w.pods {
			if pod := &w.pods[i]; pod.Status.PodIP != "" && counts(pod) {
				targets[SampleKey(w.fleet.Namespace, w.fleet.Name, pod.UID)] = routermetrics.Target{Address: net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(render.AdminPort)), Token: w.secrets.token}
			}
		}
	}
	r.options.Metrics.Set(idOf(w.fleet), targets)
}
