package clusters

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/version"

	"gridrouter.io/deploy/api/v1alpha1"
)

// secondTry is how long after a failed probe another decides, so that one lost packet is no outage.
const secondTry = time.Second

// probe asks the cluster for its version, which every user may know whose credentials are good.
func (c *connection) probe() State {
	found := c.ask()
	select {
	case <-c.probed:
	default:
		if found.Reachable {
			return c.ask() // the first one made the connection, which takes longer
		}
		return found
	}
	if found.Reachable || found.Reason == v1alpha1.ReasonUnauthorized {
		return found
	}
	select {
	case <-c.ctx.Done():
		return found
	case <-time.After(secondTry):
		return c.ask()
	}
}

func (c *connection) ask() State {
	ctx, cancel := context.WithTimeout(c.ctx, min(5*time.Second, c.registry.o.RequestTimeout))
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(c.config.Host, "/")+"/version", http.NoBody)
	if err != nil {
		return State{Reason: v1alpha1.ReasonUnreachable, Message: describe(err)}
	}
	begun := time.Now()
	response, err := c.http.Do(request)
	if err != nil {
		return State{Reason: v1alpha1.ReasonUnreachable, Message: describe(err)}
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, 64<<10))
	if err != nil {
		return State{Reason: v1alpha1.ReasonUnreachable, Message: describe(err)}
	}
	return answered(response.StatusCode, body, time.Since(begun))
}

// answered judges the answer to a probe.
func answered(status int, body []byte, latency time.Duration) State {
	reachable := State{Reachable: true, Reason: v1alpha1.ReasonReachable, Message: "the cluster answers", Latency: latency}
	switch status {
	case http.StatusOK:
		var info version.Info
		if err := json.Unmarshal(body, &info); err != nil || info.GitVersion == "" {
			return State{Reason: v1alpha1.ReasonUnreachable, Message: "it does not answer as an API server of Kubernetes: check server in the kubeconfig"}
		}
		reachable.Version = printable(info.GitVersion[:min(len(info.GitVersion), 64)])
		return reachable
	case http.StatusForbidden:
		return reachable // it knows the user, who may not ask for the version
	case http.StatusUnauthorized:
		return State{Reason: v1alpha1.ReasonUnauthorized, Message: "it refuses the credentials: put new ones into the Secret"}
	default:
		return State{Reason: v1alpha1.ReasonUnreachable, Message: fmt.Sprintf("it answers with status %d", status)}
	}
}

// latencies rounds how long a cluster takes to answer, and holds the rounded value until it has been another
// for several probes, so that a cluster at a border does not change its status for ever.
type latencies struct {
	shown, candidate time.Duration
	times            int
}

const steadyProbes = 3

// note takes a measured latency and returns the one to show; 0 is no measure, and is shown as such.
func (l *latencies) note(measured time.Duration) time.Duration {
	if measured == 0 {
		*l = latencies{}
		return 0
	}
	rounded := roundUp(measured)
	switch {
	case l.shown == 0:
		l.shown = rounded
	case rounded == l.shown:
		l.times = 0
	case rounded == l.candidate:
		if l.times++; l.times >= steadyProbes {
			l.shown, l.times = rounded, 0
		}
	default:
		l.candidate, l.times = rounded, 1
	}
	return l.shown
}

// roundUp rounds up to a power of ten of 10 ms.
func roundUp(latency time.Duration) time.Duration {
	rounded := 10 * time.Millisecond
	for rounded < latency && rounded < time.Hour {
		rounded *= 10
	}
	return rounded
}
