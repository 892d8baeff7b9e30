package services

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gridrouter.io/deploy/api/v1alpha1"
)

// Describe says in a line what goes on in a fleet: how far a rollout is and why it waits, or that nothing goes
// on; and what is wrong. It is pure.
func Describe(fleet *v1alpha1.GridRouter, now time.Time) string {
	parts := []string{stage(fleet, now)}
	if fleet.Status.ObservedGeneration < fleet.Generation {
		parts[0] = "the operator has not answered the latest change; before: " + parts[0]
	}
	degraded := condition(fleet, v1alpha1.ConditionDegraded)
	toldAlready := degraded != nil && degraded.Reason == string(v1alpha1.ReasonRolloutFailed) // by what Progressing says
	if degraded != nil && degraded.Status == metav1.ConditionTrue && !toldAlready && !strings.Contains(parts[0], degraded.Message) {
		parts = append(parts, fmt.Sprintf("something is wrong (%s): %s", degraded.Reason, degraded.Message))
	}
	return strings.Join(parts, "; ")
}

// stage says what condition Progressing tells, with the numbers that belong to it.
func stage(fleet *v1alpha1.GridRouter, now time.Time) string {
	progressing := condition(fleet, v1alpha1.ConditionProgressing)
	if progressing == nil {
		return "nothing is known of it: no operator has looked at this fleet yet"
	}
	switch progressing.Reason {
	case string(v1alpha1.ReasonComplete):
		return readiness(fleet)
	case string(v1alpha1.ReasonPaused):
		return "paused, " + readiness(fleet)
	case string(v1alpha1.ReasonScaling):
		return "scaling, " + readiness(fleet)
	case string(v1alpha1.ReasonRollingOut):
		return rolled(fleet)
	case string(v1alpha1.ReasonCanaryRunning):
		return canaryStage(fleet, now)
	case string(v1alpha1.ReasonRollingBack):
		if c := fleet.Status.Canary; c != nil && c.State == "RollingBack" {
			return canaryStage(fleet, now)
		}
		return "rolling back, " + rolled(fleet)
	case string(v1alpha1.ReasonRolledBack):
		return "taken back" + because(canaryWhy(fleet), progressing.Message)
	case string(v1alpha1.ReasonPodsWaiting):
		return "routers do not get ready: " + progressing.Message
	case string(v1alpha1.ReasonPodsForbidden):
		return "the cluster refuses routers: " + progressing.Message
	case string(v1alpha1.ReasonDeadlineExceeded):
		return "failed, there was no progress for too long: " + progressing.Message
	}
	return strings.TrimSuffix(progressing.Reason+": "+progressing.Message, ": ")
}

// canaryStage says where a canary is.
func canaryStage(fleet *v1alpha1.GridRouter, now time.Time) string {
	c := fleet.Status.Canary
	if c == nil {
		return "canary begins"
	}
	var line strings.Builder
	fmt.Fprintf(&line, "canary step %d", c.Step)
	hold := time.Duration(0)
	if canary := fleet.Spec.Rollout.Canary; canary != nil {
		fmt.Fprintf(&line, " of %d", len(canary.Steps))
		if i := int(c.Step) - 1; i >= 0 && i < len(canary.Steps) && canary.Steps[i].Hold != nil {
			hold = canary.Steps[i].Hold.Duration
		}
	}
	fmt.Fprintf(&line, " (%d %%)", c.Percent)
	since := time.Duration(0)
	if c.Since != nil {
		since = max(now.Sub(c.Since.Time), 0)
	}
	switch c.State {
	case "Deploying":
		fmt.Fprintf(&line, ", its routers are not ready yet, %d of all %d are", fleet.Status.Ready, fleet.Status.Replicas)
	case "Paused":
		line.WriteString(", stopped until a person decides")
	case "Promoting", "Promoted":
		return "canary passed, " + rolled(fleet)
	case "Judging":
		fmt.Fprintf(&line, ", not judged after %s", seconds(since))
	case "RollingBack", "RolledBack":
		return "taking it back" + because(c.Why) + ", " + readiness(fleet)
	default:
		if hold > 0 {
			fmt.Fprintf(&line, ", %s of %s", seconds(min(since, hold)), seconds(hold))
		}
	}
	if c.Why != "" {
		line.WriteString(", " + c.Why)
	}
	return line.String()
}

func canaryWhy(fleet *v1alpha1.GridRouter) string {
	if c := fleet.Status.Canary; c != nil && c.Verdict == v1alpha1.VerdictFailed {
		return c.Why
	}
	return ""
}

// because is the first reason that is told.
func because(reasons ...string) string {
	if why := cmp.Or(reasons...); why != "" {
		return ": " + why
	}
	return ""
}

func rolled(fleet *v1alpha1.GridRouter) string {
	return fmt.Sprintf("%d of %s updated, %d ready", fleet.Status.Updated, routers(wanted(fleet)), fleet.Status.Ready)
}

func readiness(fleet *v1alpha1.GridRouter) string {
	if fleet.Status.Ready > wanted(fleet) {
		return fmt.Sprintf("%s ready, %d wanted", routers(fleet.Status.Ready), wanted(fleet))
	}
	return fmt.Sprintf("%d of %s ready", fleet.Status.Ready, routers(wanted(fleet)))
}

// wanted is how many routers there are to be. Under autoscaling that is as many as there are.
func wanted(fleet *v1alpha1.GridRouter) int32 {
	if fleet.Spec.Replicas != nil {
		return *fleet.Spec.Replicas
	}
	return fleet.Status.Replicas
}

func counted(n int32) string { return strconv.Itoa(int(n)) }

func routers(n int32) string {
	if n == 1 {
		return "1 router"
	}
	return counted(n) + " routers"
}

// seconds writes a time as people say it: 60 s, 3 min 5 s, 2 h.
func seconds(d time.Duration) string {
	s := int(max(d, 0) / time.Second)
	switch {
	case s < 120:
		return fmt.Sprintf("%d s", s)
	case s < 3600 && s%60 == 0:
		return fmt.Sprintf("%d min", s/60)
	case s < 3600:
		return fmt.Sprintf("%d min %d s", s/60, s%60)
	case s%3600 < 60:
		return fmt.Sprintf("%d h", s/3600)
	}
	return fmt.Sprintf("%d h %d min", s/3600, s%3600/60)
}
