package analysis

import (
	"sync"
	"time"

	"gridrouter.io/deploy/operator/routermetrics"
)

// Window collects what canaries and stable routers did since a step of a rollout began. It lives in memory:
// an operator that starts in the middle of a step begins a new one, and [Window.Began] says so by being later
// than the step. Both tracks are always seen over the same time. Its methods may be called at once.
type Window struct {
	began time.Time

	mu             sync.Mutex
	last           map[string]routermetrics.Sample // by pod
	canary, stable routermetrics.Delta
}

// NewWindow begins a window at a time, by the clock that samples are read by.
func NewWindow(began time.Time) *Window {
	return &Window{began: began, last: map[string]routermetrics.Sample{}}
}

// Began returns when the window began.
func (w *Window) Began() time.Time { return w.began }

// Add adds a sample of a pod, named by its UID. A pod that was there before the window counts from its first
// sample in it; one that started later from its start. Samples that are not newer than the pod's last, or
// older than the window, are passed over. What a pod did stays counted when it has gone.
func (w *Window) Add(pod string, canary bool, now routermetrics.Sample) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before, seen := w.last[pod]
	if now.At.Before(w.began) || seen && !now.At.After(before.At) {
		return
	}
	w.last[pod] = now
	if !seen && !now.Started.After(w.began) {
		return
	}
	did := routermetrics.Sub(now, before)
	if canary {
		w.canary = w.canary.Add(did)
	} else {
		w.stable = w.stable.Add(did)
	}
}

// Deltas returns what both tracks did in the window, to be judged.
func (w *Window) Deltas() (canary, stable routermetrics.Delta) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.canary, w.stable
}

// Windows are those of all fleets: each has one at most. The zero value is ready. Its methods may be called
// at once.
type Windows struct {
	mu sync.Mutex
	of map[string]windowOfStep
}

type windowOfStep struct {
	step string
	*Window
}

// Of returns the window of a fleet's step, which begins at now if there is none of this step yet. Any string
// that differs from step to step names it.
func (w *Windows) Of(fleet, step string, now time.Time) *Window {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.of == nil {
		w.of = map[string]windowOfStep{}
	}
	if has := w.of[fleet]; has.Window != nil && has.step == step {
		return has.Window
	}
	fresh := NewWindow(now)
	w.of[fleet] = windowOfStep{step, fresh}
	return fresh
}

// Forget drops the window of a fleet.
func (w *Windows) Forget(fleet string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.of, fleet)
}
